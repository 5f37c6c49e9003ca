import { parseDigest, parseToolName } from "../contract/ids.ts";
import { deepFreeze, type JsonObject } from "../contract/json.ts";
import { CPUS_MILLI_MAX, CPUS_MILLI_MIN, DEFAULT_LIMITS } from "../contract/profile.ts";
import { ISOLATION_CLASSES } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";

/** Names that manifests may not take. */
export const RESERVED_PREFIX = "callgate.";

const PATHS: JsonObject = {
  type: "array",
  items: { type: "string", minLength: 1, maxLength: 4096 },
  maxItems: 256,
};
const COUNT: JsonObject = { type: "integer", minimum: 1 };

/** What policy judges of one `callgate exec`. Values of variables are part of the profile, which has its own digest. */
const EXEC_INPUT: JsonObject = {
  type: "object",
  properties: {
    command: { type: "array", items: { type: "string" }, minItems: 1, maxItems: 65536 },
    files: {
      type: "object",
      properties: { read: PATHS, write: PATHS, hide: PATHS, staged: { type: "boolean" } },
      additionalProperties: false,
    },
    network: { type: "string", enum: ["none", "names"] },
    hosts: { type: "array", items: { type: "string", minLength: 1, maxLength: 400 }, maxItems: 64 },
    observe: { type: "string", enum: ["refuse", "allow"] },
    isolation: { type: "string", enum: ISOLATION_CLASSES },
    root: { type: "string", minLength: 1, maxLength: 4096 },
    environment: {
      type: "array",
      items: { type: "string", pattern: "^[A-Za-z_][A-Za-z0-9_]*$", maxLength: 256 },
      maxItems: 256,
      uniqueItems: true,
    },
    cwd: { type: "string", minLength: 1, maxLength: 4096 },
    tty: { type: "boolean" },
    limits: {
      type: "object",
      properties: {
        ...Object.fromEntries(Object.keys(DEFAULT_LIMITS).map((name) => [name, COUNT])),
        cpusMilli: { type: "integer", minimum: CPUS_MILLI_MIN, maximum: CPUS_MILLI_MAX },
      },
      additionalProperties: false,
    },
  },
  required: ["command"],
  additionalProperties: false,
};

/**
 * `callgate exec`: any command, with the profile its input names. Medium, since it may run a shell and write where
 * it is told. This file loads no parser, so that a one-shot command pays for none; a test recomputes the digest.
 */
export const EXEC_TOOL: Tool = deepFreeze({
  name: parseToolName(`${RESERVED_PREFIX}exec`),
  description: "Run one command in a sandbox that sees what the call names and nothing else",
  tier: "medium",
  categories: ["exec"],
  input: EXEC_INPUT,
  run: { command: ["{...command}"], allowLeadingDash: true, environment: {} },
  output: "text",
  sandbox: { files: { read: [], write: [], hide: [] }, network: { mode: "none" }, limits: DEFAULT_LIMITS },
  calls: [],
  digest: parseDigest("sha256:5a650f8070cbdedf1d585699a63f916620215e87cf5d59a8e421c18c9a9cd5dc"),
});
