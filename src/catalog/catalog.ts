import { problemAt } from "../config/document.ts";
import { formatPlace } from "../contract/errors.ts";
import type { ToolName } from "../contract/ids.ts";
import { nearest } from "../contract/nearest.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { type Catalog, createCatalog } from "./create-catalog.ts";
import { createSchemaChecker } from "./input-schema.ts";
import { type Manifest, readManifest } from "./manifest.ts";

function checkCalls({ tool, document }: Manifest, names: ReadonlySet<string>): void {
  for (const [index, called] of tool.calls.entries()) {
    if (names.has(called)) continue;
    const meant = nearest(called, names);
    throw problemAt(document, ["calls", index], `there is no tool \`${called}\``, {
      remedy: meant === undefined ? "name a tool of this catalogue" : `did you mean \`${meant}\`?`,
    });
  }
}

function byName(manifests: readonly Manifest[]): Map<ToolName, Manifest> {
  const found = new Map<ToolName, Manifest>();
  for (const manifest of manifests) {
    const { name } = manifest.tool;
    const first = found.get(name);
    if (first !== undefined) {
      const there = formatPlace(first.document.placeOf(["name"]));
      throw problemAt(manifest.document, ["name"], `the tool \`${name}\` is already named in \`${there}\``, {
        code: "ERR_TOOL_DUPLICATE",
        remedy: "rename one of the two",
      });
    }
    found.set(name, manifest);
  }
  return found;
}

/**
 * Reads the manifests of a project, given as texts by file name, into one catalogue.
 * @throws GateError what `readManifest` throws, `ERR_TOOL_DUPLICATE`, or `ERR_CONFIG_INVALID` for `calls` to nowhere.
 */
export function loadCatalog(manifests: ReadonlyMap<string, string>): Catalog {
  const schemas = createSchemaChecker();
  const found = byName([...manifests].map(([file, text]) => readManifest(text, file, schemas)));
  const names = new Set<string>([...found.keys(), EXEC_TOOL.name]);
  for (const manifest of found.values()) checkCalls(manifest, names);
  return createCatalog([EXEC_TOOL, ...[...found.values()].map(({ tool }) => tool)]);
}
