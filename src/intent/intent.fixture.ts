import canonicalize from "canonicalize";
import type { Caller, Environment, ToolCall } from "../contract/call.ts";
import { digestOf, newCallId, parseToolName } from "../contract/ids.ts";
import type { JsonObject } from "../contract/json.ts";
import { DEFAULT_LIMITS } from "../contract/profile.ts";
import type { Tier } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import type { Facts, PathFact } from "./facts.ts";

export interface ToolParts {
  readonly tier?: Tier;
  readonly categories?: readonly string[];
  readonly properties?: JsonObject;
  readonly required?: readonly string[];
  /** Beside or over `type`, `properties`, `required` and `additionalProperties: false`. */
  readonly schema?: JsonObject;
  readonly isolation?: Tool["sandbox"]["isolation"];
}

export function makeTool(name: string, parts: ToolParts = {}): Tool {
  const { tier = "low", categories = [], properties = {}, required = [], schema = {}, isolation } = parts;
  const bare: Omit<Tool, "digest"> = {
    name: parseToolName(name),
    description: name,
    tier,
    categories,
    input: { type: "object", properties, required, additionalProperties: false, ...schema },
    run: { command: ["true"], allowLeadingDash: false, environment: {} },
    output: "text",
    sandbox: {
      ...(isolation === undefined ? {} : { isolation }),
      files: { read: [], write: [], hide: [] },
      network: { mode: "none" },
      limits: DEFAULT_LIMITS,
    },
    calls: [],
  };
  return { ...bare, digest: digestOf(canonicalize(bare) ?? "") };
}

export const DEVELOPMENT: Environment = { name: "development", protected: false };
export const PRODUCTION: Environment = { name: "production", protected: true };

export const OWNER: Caller = { kind: "User", id: "ada", proof: "process-owner", claims: {} };

/** A job of the protected main branch; claims may be overridden. */
export function job(claims: Caller["claims"] = {}): Caller {
  const main = {
    repository: "acme/app",
    ref: "refs/heads/main",
    ref_protected: true,
    run_id: "77",
    trusted: true,
  };
  return { kind: "Job", id: "acme/app:77", proof: "oidc", claims: { ...main, ...claims } };
}

export function makeCall(tool: Tool, input: JsonObject, parts: Partial<ToolCall> = {}): ToolCall {
  return {
    id: newCallId(),
    tool: tool.name,
    toolDigest: tool.digest,
    input,
    network: tool.sandbox.network,
    caller: OWNER,
    context: { environment: DEVELOPMENT, depth: 0 },
    receivedMs: 0,
    ...parts,
  };
}

/** A file system made of its symlinks; everything else is plain. */
export function linkFacts(links: Readonly<Record<string, string>> = {}, workspace = "/work"): Facts {
  const look = (path: string): PathFact => {
    const target = links[path];
    return target === undefined ? { kind: "plain" } : { kind: "link", target };
  };
  return { workspace, look };
}

export const SEARCH: Tool = makeTool("repo.search", {
  categories: ["analysis"],
  properties: {
    pattern: { type: "string", maxLength: 500 },
    path: { type: "string", format: "workspace-path", default: "." },
    depth: { type: "integer" },
    weight: { type: "number" },
  },
  required: ["pattern"],
});
export const DEPLOY: Tool = makeTool("app.deploy", {
  tier: "high",
  categories: ["deployment"],
  properties: { target: { type: "string" } },
  required: ["target"],
});
export const PUBLISH: Tool = makeTool("package.publish", {
  tier: "high",
  categories: ["release"],
  properties: { package: { type: "string", format: "artifact" } },
  required: ["package"],
});
export const TERRAFORM: Tool = makeTool("infra.apply", {
  tier: "critical",
  categories: ["infrastructure"],
  properties: { plan: { type: "string", format: "artifact" } },
  required: ["plan"],
});
export const COMMENT: Tool = makeTool("pr.comment", {
  tier: "medium",
  categories: ["collaboration"],
  properties: { body: { type: "string" } },
  required: ["body"],
});
export const CATALOG: readonly Tool[] = [SEARCH, DEPLOY, PUBLISH, TERRAFORM, COMMENT];
