import {
  type DocumentPath,
  type ParsedDocument,
  parseDocument,
  problemAt,
  validate,
} from "../config/document.ts";
import type { GateError } from "../contract/errors.ts";
import { deepFreeze, isJsonObject, type JsonObject } from "../contract/json.ts";
import { nearest } from "../contract/nearest.ts";
import type { Network } from "../contract/network.ts";
import { strongerIsolation, TIER_MINIMUMS, type Tier } from "../contract/tier.ts";
import type { Tool } from "../contract/tool.ts";
import { digestTool, type ToolDefinition } from "./digest.ts";
import { createSchemaChecker, propertyKind, type SchemaChecker } from "./input-schema.ts";
import { MANIFEST_REFUSALS, type ManifestFile, manifestSchema } from "./manifest-schema.ts";
import { NETWORK_HINTS } from "./network-schema.ts";
import { findCodeUse, isLiteral } from "./programs.ts";
import { parseTemplate, type TemplatePart } from "./template.ts";
import { fillLimits } from "./units.ts";

/** A manifest with the places of everything in it. */
export interface Manifest {
  readonly tool: Tool;
  readonly document: ParsedDocument;
}

function fail(document: ParsedDocument, path: DocumentPath, message: string, remedy?: string): GateError {
  return problemAt(document, path, message, remedy === undefined ? {} : { remedy });
}

interface PlaceUse {
  readonly document: ParsedDocument;
  readonly input: JsonObject;
  readonly path: DocumentPath;
}

function checkPlaceName(use: PlaceUse, part: TemplatePart): void {
  if (part.kind === "text") return;
  const properties = use.input["properties"];
  const known = isJsonObject(properties) ? properties : {};
  const written = part.kind === "spread" ? `{...${part.name}}` : `{${part.name}}`;
  if (!Object.hasOwn(known, part.name)) {
    const meant = nearest(part.name, Object.keys(known));
    const remedy = meant === undefined ? "add it to the properties of `input`" : `did you mean \`${meant}\`?`;
    throw fail(use.document, use.path, `\`${written}\` names no property of the input`, remedy);
  }
  const kind = propertyKind(use.input, known[part.name]);
  const wanted = part.kind === "spread" ? "scalars" : "scalar";
  if (kind === wanted) return;
  const [message, remedy] =
    kind === "unstated"
      ? [`\`${written}\` fills in \`${part.name}\`, whose schema states no type`, "give it a `type`"]
      : part.kind === "spread"
        ? [
            `\`${written}\` needs a list of text, numbers or booleans`,
            `write \`{${part.name}}\`, or make the property such a list`,
          ]
        : [
            `\`${written}\` needs text, a number or a boolean`,
            `write \`{...${part.name}}\` for a list, or change its type`,
          ];
  throw fail(use.document, use.path, message, remedy);
}

function checkTemplate(use: PlaceUse, template: string): readonly TemplatePart[] {
  const parsed = parseTemplate(template);
  if (!parsed.ok) throw fail(use.document, use.path, parsed.message, parsed.remedy);
  for (const part of parsed.parts) checkPlaceName(use, part);
  return parsed.parts;
}

function checkCommand(document: ParsedDocument, { run, input }: ManifestFile): void {
  for (const [index, template] of run.command.entries()) {
    const path = ["run", "command", index];
    checkTemplate({ document, input, path }, template);
    if (index === 0 && (template === "" || !isLiteral(template))) {
      throw fail(
        document,
        path,
        "the program is named by the manifest, never by the input",
        "write its name or path",
      );
    }
  }
  if (run.stdin === undefined) return;
  const path = ["run", "stdin"];
  const parts = checkTemplate({ document, input, path }, run.stdin);
  if (parts.some((part) => part.kind === "spread")) {
    throw fail(
      document,
      path,
      "standard input is one text, so a list cannot be spread into it",
      "write `{name}`",
    );
  }
}

/** A tool that runs code from its arguments or input is bounded by its profile alone (interface.md, "A tool"). */
function checkCodeUse(document: ParsedDocument, { run, tier }: ManifestFile): void {
  const use = findCodeUse(run.command, run.stdin !== undefined);
  if (use === undefined) return;
  if (tier === "low") {
    const message = `\`${use.program}\` runs code, so this tool cannot be of tier \`low\``;
    throw fail(document, ["tier"], message, "write `tier: medium` or above");
  }
  const code = use.argument === undefined ? undefined : run.command[use.argument];
  if (code === undefined || isLiteral(code) || /^\{[^{}]+\}$/.test(code)) return;
  throw fail(
    document,
    ["run", "command", use.argument ?? 0],
    "a value inside of code is read as code",
    `pass it as an argument of its own: \`["sh", "-c", 'grep -- "$1"', "sh", "{name}"]\``,
  );
}

function checkCredentials(document: ParsedDocument, network: Network, tier: Tier): void {
  if (network.mode === "none" || TIER_MINIMUMS[tier].credentials) return;
  const index = network.allow.findIndex(({ credential }) => credential !== undefined);
  if (index < 0) return;
  const path = ["sandbox", "network", "allow", index, "credential"];
  throw fail(
    document,
    path,
    `tier \`${tier}\` has no credentials`,
    "write `tier: medium` or above, or remove `credential`",
  );
}

function checkTier(document: ParsedDocument, { tier, sandbox }: ManifestFile): void {
  const minimum = TIER_MINIMUMS[tier];
  if (!minimum.workspaceWrites && sandbox.files.write.length > 0) {
    const path = ["sandbox", "files", "write", 0];
    throw fail(
      document,
      path,
      `tier \`${tier}\` writes nothing`,
      "write `tier: medium` or above, or remove `write`",
    );
  }
  checkCredentials(document, sandbox.network, tier);
  const { isolation, files } = sandbox;
  if (files.staged === true && files.write.length === 0) {
    throw problemAt(document, ["sandbox", "files", "staged"], "`staged` has no meaning without `write`", {
      remedy: "name the folders it may write, or remove `staged`",
      onKey: true,
    });
  }
  if (isolation !== undefined && strongerIsolation(isolation, minimum.isolation) !== isolation) {
    const message = `isolation \`${isolation}\` is weaker than tier \`${tier}\` allows`;
    throw fail(
      document,
      ["sandbox", "isolation"],
      message,
      `write \`${minimum.isolation}\` or stronger, or remove it`,
    );
  }
}

function checkOutput(
  document: ParsedDocument,
  { output, outputSchema }: ManifestFile,
  schemas: SchemaChecker,
): void {
  if (outputSchema === undefined) return;
  if (output !== "json") {
    throw problemAt(document, ["outputSchema"], "`outputSchema` has no meaning for text", {
      remedy: "write `output: json`",
      onKey: true,
    });
  }
  schemas.check(document, "output", ["outputSchema"], outputSchema);
}

function define(file: ManifestFile): ToolDefinition {
  const { name, description, tier, categories, input, run, output, outputSchema, sandbox, calls } = file;
  const { isolation, root, files, network, limits } = sandbox;
  return {
    name,
    description,
    tier,
    categories,
    input,
    run,
    output,
    ...(outputSchema === undefined ? {} : { outputSchema }),
    sandbox: {
      ...(isolation === undefined ? {} : { isolation }),
      ...(root === undefined ? {} : { root }),
      files,
      network,
      limits: fillLimits(limits),
    },
    calls,
  };
}

/**
 * Reads one manifest and checks all that can be known before a call.
 * @throws GateError `ERR_CONFIG_SYNTAX`, `ERR_CONFIG_INVALID` or `ERR_TOOL_SCHEMA` with the place.
 */
export function readManifest(
  text: string,
  file: string,
  schemas: SchemaChecker = createSchemaChecker(),
): Manifest {
  const document = parseDocument(text, file);
  const manifest = validate(document, manifestSchema, MANIFEST_REFUSALS, NETWORK_HINTS);
  schemas.check(document, "input", ["input"], manifest.input);
  checkCommand(document, manifest);
  checkCodeUse(document, manifest);
  checkTier(document, manifest);
  checkOutput(document, manifest, schemas);
  const definition = define(manifest);
  return { tool: deepFreeze({ ...definition, digest: digestTool(definition) }), document };
}

/** The tool of one manifest; see `readManifest`. */
export function parseManifest(text: string, file: string): Tool {
  return readManifest(text, file).tool;
}
