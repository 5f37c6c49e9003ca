import { GateError } from "../contract/errors.ts";
import type { NetworkProtocol, NetworkRule } from "../contract/network.ts";
import { isAddress, parseHost } from "./network-host.ts";

export const RULES_MAX = 64;
export const PORTS_MAX = 16;
export const HTTP_RULES_MAX = 64;
const PORT_MAX = 65_535;
const TLS_PORT = 443;
export const HTTP_PORT = 80;
/** Where TLS is what is spoken, when nothing else is said. */
export const TLS_PORTS: readonly number[] = [TLS_PORT, 8443];

/** A rule as it is written, its defaults not filled in. */
export interface WrittenRule {
  readonly host: string;
  readonly ports?: readonly number[];
  readonly protocol?: NetworkProtocol;
  readonly http?: NetworkRule["http"];
  readonly credential?: string;
  readonly allowPrivate?: boolean;
}

/**
 * Fills in what a rule does not say, and checks what can be checked of it alone.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function completeRule(written: WrittenRule): NetworkRule {
  const { http, credential, allowPrivate } = written;
  const host = hostOf(written.host);
  const protocol = written.protocol ?? "tls";
  const ports = written.ports ?? [protocol === "http" ? HTTP_PORT : TLS_PORT];
  if (protocol === "tcp" && written.ports === undefined)
    throw refused(`a \`tcp\` rule for \`${host}\` has to name its ports`, "add `ports: [5432]`");
  if (protocol === "tcp" && (http !== undefined || credential !== undefined))
    throw refused(
      `\`tcp\` for \`${host}\` is passed through as it is, so it has no requests and takes no credential`,
      `write \`protocol: tls\` or \`protocol: http\`, or remove ${[http && "`http`", credential && "`credential`"].filter(Boolean).join(" and ")}`,
    );
  if (protocol === "tls" && isAddress(host))
    throw refused(
      `\`${host}\` is an address, and a ClientHello names none (RFC 6066)`,
      "write its name, or `protocol: tcp`",
    );
  if (host.startsWith("*.") && credential !== undefined)
    throw refused(`a credential is for one host, and \`${host}\` is many`, "name the host");
  return {
    host,
    ports,
    protocol,
    ...(http === undefined ? {} : { http }),
    ...(credential === undefined ? {} : { credential }),
    ...(allowPrivate === true ? { allowPrivate: true } : {}),
  };
}

/** Two rules for one host and port would leave open which of them holds. */
export function checkRules(rules: readonly NetworkRule[]): void {
  if (rules.length > RULES_MAX) throw refused(`at most ${RULES_MAX} hosts can be named`, "name fewer");
  const seen = new Set<string>();
  for (const { host, ports } of rules) {
    for (const port of ports) {
      const place = `${host}:${port}`;
      if (seen.has(place)) throw refused(`two rules are about \`${place}\``, "make one of them");
      seen.add(place);
    }
  }
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= PORT_MAX;
}

/** A port has a key of its own in a rule with keys. */
function hostOf(text: string): string {
  const [, name = "", port = ""] = /^([^:/]+):(\d{1,5})$/.exec(text) ?? [];
  if (name !== "")
    throw refused(
      `\`${text}\` is a host and a port`,
      `write \`host: ${name.startsWith("*") ? JSON.stringify(name) : name}\` and \`ports: [${port}]\``,
    );
  return parseHost(text);
}

function refused(message: string, remedy: string): GateError {
  return new GateError("ERR_USAGE", message, { remedy });
}
