import type { SchemaJson } from "@cedar-policy/cedar-wasm/nodejs";
import { GateError } from "../contract/errors.ts";
import { TIERS } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { loadCedar } from "./cedar.ts";
import { CLAIMS, PRINCIPALS } from "./claims.ts";
import { type CedarRecord, type CedarType, inputType } from "./input-type.ts";

type Attributes = Record<string, CedarType & { readonly required: boolean }>;

const STRING = { type: "String", required: true } as const;
const MAYBE_STRING = { type: "String", required: false } as const;
const BOOLEAN = { type: "Boolean", required: true } as const;
const LONG = { type: "Long", required: true } as const;
const STRINGS = { type: "Set", element: { type: "String" }, required: true } as const;

const CALL: Attributes = {
  depth: LONG,
  event: MAYBE_STRING,
  ref: MAYBE_STRING,
  repository: MAYBE_STRING,
  parent: MAYBE_STRING,
};

/** What is known of the artifacts a call uses, in a form Cedar can ask about all of them at once. */
const ARTIFACTS: Attributes = {
  count: LONG,
  signed: BOOLEAN,
  proven: BOOLEAN,
  pipelines: STRINGS,
  digests: STRINGS,
};

/** What a call would reach. A host of `hosts` is as rules write it, wildcards too; `places` are `host:port`. */
const NETWORK: Attributes = {
  hosts: STRINGS,
  places: STRINGS,
  credentials: STRINGS,
  /** A name may stand for a private address. */
  private: BOOLEAN,
  /** Something passes that is neither TLS nor HTTP. */
  tcp: BOOLEAN,
  /** A learning run. */
  observes: BOOLEAN,
  /** One that reaches every host. */
  everything: BOOLEAN,
};

const OPAQUE_DIGESTS = {
  type: "Set",
  element: record({ pointer: STRING, digest: STRING }),
  required: true,
} as const;

function record(attributes: Attributes): CedarRecord {
  return { type: "Record", attributes };
}

function required(type: CedarRecord): CedarRecord & { required: true } {
  return { ...type, required: true };
}

/** The groups of actions a tool is in. */
export function groupsOf(tool: Pick<Tool, "tier" | "categories">): string[] {
  return [`tier/${tool.tier}`, ...tool.categories.map((category) => `category/${category}`)];
}

/** Every group policies may name: all tiers, and the categories of the catalogue. */
export function groupNames(tools: readonly Tool[]): string[] {
  const groups = [...TIERS.map((tier) => `tier/${tier}`), ...tools.flatMap(groupsOf)];
  return [...new Set(groups)].sort();
}

/** The Cedar schema of a catalogue: principals with their claims, tools as actions, the environment. */
export function cedarSchema(tools: readonly Tool[]): SchemaJson<string> {
  const actions: SchemaJson<string>[string]["actions"] = {};
  for (const group of groupNames(tools)) actions[group] = {};
  for (const tool of tools) {
    const context = record({
      input: required(inputType(tool)),
      call: required(record(CALL)),
      artifacts: required(record(ARTIFACTS)),
      network: required(record(NETWORK)),
      opaque: STRINGS,
      digests: OPAQUE_DIGESTS,
    });
    actions[tool.name] = {
      memberOf: groupsOf(tool).map((id) => ({ id })),
      appliesTo: {
        principalTypes: [...PRINCIPALS],
        resourceTypes: ["Environment"],
        // Cedar's types are mutable; nobody changes these.
        context: context as never,
      },
    };
  }
  const schema = { "": { entityTypes: entityTypes(), actions } };
  return schema as SchemaJson<string>;
}

function entityTypes(): Record<string, unknown> {
  const types: Record<string, unknown> = {
    Environment: { shape: record({ name: STRING, protected: BOOLEAN }) },
  };
  for (const kind of PRINCIPALS) {
    const attributes: Attributes = { id: STRING, proof: STRING };
    for (const [name, type] of Object.entries(CLAIMS[kind])) attributes[name] = { type, required: false };
    types[kind] = { shape: record(attributes), tags: { type: "String" } };
  }
  return types;
}

/**
 * The schema in Cedar's human syntax, as `callgate policy schema` prints it.
 * @throws GateError `ERR_TOOL_SCHEMA`.
 */
export async function schemaText(tools: readonly Tool[]): Promise<string> {
  const cedar = await loadCedar();
  const answer = cedar.schemaToText(cedarSchema(tools));
  if (answer.type === "success") return answer.text;
  const message = answer.errors.map((error) => error.message).join("; ");
  throw new GateError("ERR_INTERNAL", "the policy schema could not be printed", { internal: message });
}
