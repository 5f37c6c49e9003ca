import { z } from "zod";
import type { Refusal } from "../config/issues.ts";
import type { GateError } from "../contract/errors.ts";
import { parseToolName, type ToolName } from "../contract/ids.ts";
import type { JsonObject } from "../contract/json.ts";
import type { Network } from "../contract/network.ts";
import { parseRoot, type RootRequest } from "../contract/root.ts";
import { ISOLATION_CLASSES, type IsolationClass, TIERS, type Tier } from "../contract/tier.ts";
import { RESERVED_PREFIX } from "./builtin.ts";
import { networkSchema } from "./network-schema.ts";
import { type LimitsFile, limitsSchema } from "./units.ts";

/** A tool manifest as it is written. */
export interface ManifestFile {
  readonly name: ToolName;
  readonly description: string;
  readonly tier: Tier;
  readonly categories: readonly string[];
  readonly input: JsonObject;
  readonly run: {
    readonly command: readonly string[];
    readonly stdin?: string;
    readonly allowLeadingDash: boolean;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly output: "text" | "json";
  readonly outputSchema?: JsonObject;
  readonly sandbox: {
    readonly isolation?: IsolationClass;
    readonly root?: RootRequest;
    readonly files: {
      readonly read: readonly string[];
      readonly write: readonly string[];
      readonly hide: readonly string[];
      readonly staged?: true;
    };
    readonly network: Network;
    readonly limits: LimitsFile;
  };
  readonly calls: readonly ToolName[];
}

const NO_SHELL: Omit<Refusal, "path"> = {
  message: "there is no `shell: true`: a command is an argument vector, and nothing is handed to a shell",
  remedy:
    'say openly that the tool is a shell, `command: ["sh", "-c", "{script}"]`, with `tier: medium` or above',
};

function later(path: string, what: string): Refusal {
  return {
    path,
    message: `${what} is not in this version`,
    remedy: "remove it; it comes with a later version",
  };
}

/** What a manifest might say and this version does not do, or nobody does. */
export const MANIFEST_REFUSALS: readonly Refusal[] = [
  { path: "shell", ...NO_SHELL },
  { path: "run.shell", ...NO_SHELL },
  { path: "sandbox.shell", ...NO_SHELL },
  later("artifacts", "`artifacts` (files a tool produces, kept and passed on)"),
  ...["credentials", "sandbox.credentials", "run.credentials"].map((path) => ({
    path,
    message: "a credential is named by the rule of the host that it is for",
    remedy: "write `network: { allow: [{ host: api.example.com, credential: NAME }] }` below `sandbox`",
  })),
  {
    path: "allowLeadingDash",
    message: "`allowLeadingDash` stands under `run`",
    remedy: "move it below `run:`",
  },
];

const toolName: z.ZodType<ToolName> = z.string().transform((text, context) => {
  try {
    return parseToolName(text);
  } catch (error) {
    const { message, remedy } = error as GateError;
    context.addIssue({ code: "custom", message, params: { remedy } });
    return z.NEVER;
  }
});

const ownName: z.ZodType<ToolName> = toolName.refine((name) => !name.startsWith(RESERVED_PREFIX), {
  error: "names that begin with `callgate.` are built in",
  params: { remedy: "choose another name" },
});

// biome-ignore lint/suspicious/noTemplateCurlyInString: the manifest's own place, filled when the profile is made
const WORKSPACE = "${workspace}";
// biome-ignore lint/suspicious/noTemplateCurlyInString: as above; the folder of the Node that runs the gate
const NODE = "${node}";

function pathProblem(path: string): string | undefined {
  const place = [WORKSPACE, NODE].find((known) => path.startsWith(known)) ?? "";
  const rest = path.slice(place.length);
  if (place !== "" && rest !== "" && !rest.startsWith("/")) return `\`${path}\` runs on after \`${place}\``;
  if (/[\x00-\x1f\x7f]/.test(path)) return "a path holds a control character";
  if (/[{}*?$]/.test(rest)) return `\`${path}\` holds a wildcard or a place, and a path here is literal`;
  if (path.startsWith("~")) return `\`${path}\` starts with \`~\`, which is not expanded here`;
  if (rest.split("/").includes("..")) return `\`${path}\` holds \`..\``;
  return undefined;
}

const path: z.ZodType<string> = z
  .string()
  .min(1)
  .max(4096)
  .superRefine((text, context) => {
    const message = pathProblem(text);
    const remedy = `write an absolute path, one relative to the workspace, or one that begins with \`${WORKSPACE}\``;
    if (message !== undefined) context.addIssue({ code: "custom", message, params: { remedy } });
  });

function paths(description: string): z.ZodType<readonly string[]> {
  return z.array(path).max(256).meta({ description });
}

/** What runs outside of every sandbox is nobody's to write. */
const writablePath: z.ZodType<string> = path.refine((text) => !text.startsWith(NODE), {
  error: `\`${NODE}\` runs the gate itself, so no tool writes it`,
  params: { remedy: "name it under `read`" },
});

// The document is JSON already; what a schema may hold is checked by `checkSchema`.
const jsonObject = z.record(z.string(), z.unknown()) as unknown as z.ZodType<JsonObject>;

const noNul = z.string().refine((text) => !text.includes("\0"), "an argument cannot hold a NUL");

const run: z.ZodType<ManifestFile["run"]> = z.strictObject({
  command: z
    .array(noNul.max(128 * 1024 - 1))
    .min(1)
    .max(1024)
    .meta({
      description:
        "argument vector; {name} fills one argument or part of one, {...names} several, {{ and }} are braces",
    }),
  stdin: z.exactOptional(z.string().meta({ description: "what standard input is fed, such as {body}" })),
  allowLeadingDash: z
    .boolean()
    .default(false)
    .meta({ description: "let values that begin with - stand where no -- precedes them" }),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/), noNul.max(32_768))
    .default({})
    .meta({ description: "fixed variables, beside PATH, HOME, LANG and TERM" }),
});

const root: z.ZodType<RootRequest> = z.string().transform((text, context) => {
  try {
    const asked = parseRoot(text);
    const message = "path" in asked ? pathProblem(asked.path) : undefined;
    if (message === undefined) return asked;
    context.addIssue({ code: "custom", message });
  } catch (error) {
    const { message, remedy } = error as GateError;
    context.addIssue({ code: "custom", message, params: { remedy } });
  }
  return z.NEVER;
});

const sandbox: z.ZodType<ManifestFile["sandbox"]> = z.strictObject({
  isolation: z.exactOptional(
    z.enum(ISOLATION_CLASSES).meta({ description: "the least isolation; unset: what the tier asks for" }),
  ),
  root: z.exactOptional(
    root.meta({
      description:
        "root file system: host, folder:PATH, oci:PATH[@sha256:DIGEST] or image:NAME@sha256:DIGEST; unset: the project's",
    }),
  ),
  files: z
    .strictObject({
      read: paths(
        `paths it may read; \`${NODE}\` is the Node that runs the gate, and puts it on the tool's PATH`,
      ).default([]),
      write: z
        .array(writablePath)
        .max(256)
        .meta({ description: "paths it may write; the low tier has none" })
        .default([]),
      hide: paths("paths laid empty inside of what it may read or write").default([]),
      staged: z.exactOptional(
        z.literal(true).meta({
          description: "it writes to a private copy, which is applied as a whole once it has succeeded",
        }),
      ),
    })
    .prefault({})
    .meta({ description: "files it sees; everything else is not there" }),
  network: networkSchema
    .prefault("none" as never)
    .meta({ description: "none, or the hosts it reaches by name" }),
  limits: limitsSchema.prefault({}).meta({ description: "bounds on one call" }),
});

/** The schema of a tool manifest. */
export const manifestSchema: z.ZodType<ManifestFile> = z
  .strictObject({
    name: ownName.meta({ description: "lower-case words joined by dots, such as repo.search" }),
    description: z.string().min(1).max(4096).meta({ description: "one line for people and models" }),
    tier: z.enum(TIERS).meta({ description: "how much harm it can do" }),
    categories: z
      .array(z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/))
      .max(32)
      .default([])
      .meta({ description: "groups that policies address" }),
    input: jsonObject.meta({
      description: "JSON Schema 2020-12 of an object with additionalProperties: false",
      $ref: "https://json-schema.org/draft/2020-12/schema",
    }),
    run: run.meta({ description: "what runs" }),
    output: z.enum(["text", "json"]).default("text").meta({ description: "json: standard output is parsed" }),
    outputSchema: z.exactOptional(
      jsonObject.meta({
        description: "JSON Schema 2020-12 that the parsed output must fit",
        $ref: "https://json-schema.org/draft/2020-12/schema",
      }),
    ),
    sandbox: sandbox.prefault({}).meta({ description: "what it may see and use; deny by default" }),
    calls: z.array(toolName).max(256).default([]).meta({ description: "tools it may call through the gate" }),
  })
  .meta({ title: "tool manifest", description: "one tool of a Callgate catalogue" });
