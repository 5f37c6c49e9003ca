import type { JsonObject } from "../contract/json.ts";
import type { Network, NetworkRule } from "../contract/network.ts";
import type { Tool } from "../contract/tool.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { checkRules } from "./network-rule.ts";
import { parseNetText } from "./network-text.ts";

/**
 * What one call would reach: what the tool's manifest says or, of `callgate.exec`, what its input names.
 * @throws GateError `ERR_USAGE` for a host that does not parse.
 */
export function callNetwork(tool: Tool, { hosts, observe }: JsonObject): Network {
  if (tool.digest !== EXEC_TOOL.digest) return tool.sandbox.network;
  const allow: readonly NetworkRule[] = (Array.isArray(hosts) ? hosts : []).map((text) =>
    parseNetText(String(text)),
  );
  checkRules(allow);
  if (observe === "refuse" || observe === "allow") return { mode: "names", allow, observe };
  return allow.length === 0 ? { mode: "none" } : { mode: "names", allow };
}

/** A network in one line for people: `none`, or its hosts with what passes. */
export function describeNetwork(network: Network): string {
  if (network.mode === "none") return "none";
  return network.allow
    .map(({ host, ports, protocol, http, credential, allowPrivate }) =>
      [
        `${host}:${ports.join(",")}`,
        protocol,
        ...(http === undefined
          ? []
          : http.map(({ methods, paths }) => `${methods.join(",")} ${paths.join(" ")}`)),
        ...(credential === undefined ? [] : [`with ${credential}`]),
        ...(allowPrivate === true ? ["private too"] : []),
      ].join("  "),
    )
    .join("\n");
}
