import { GateError } from "../contract/errors.ts";
import { type Digest, digestOf, type ToolName } from "../contract/ids.ts";
import { nearest } from "../contract/nearest.ts";
import type { Tool } from "../contract/tool.ts";
import { EXEC_TOOL } from "./builtin.ts";

/** Every tool that can be called: those of the manifests and what is built in, by name and in that order. */
export interface Catalog {
  readonly tools: ReadonlyMap<ToolName, Tool>;
  /** Over the names and digests of all tools. */
  readonly digest: Digest;
  /** @throws GateError `ERR_TOOL_UNKNOWN`, with the nearest name there is. */
  get(name: string): Tool;
}

const WHERE_TO_LOOK = "`callgate tools list` shows what there is";

/**
 * Loads no parser, so that a project without manifests pays for none.
 * @param absence what to do about a tool that is not in it
 */
export function createCatalog(all: readonly Tool[], absence: string = WHERE_TO_LOOK): Catalog {
  const sorted = [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
  const tools = new Map<ToolName, Tool>(sorted.map((tool) => [tool.name, tool]));
  return {
    tools,
    digest: digestOf(JSON.stringify(sorted.map(({ name, digest }) => [name, digest]))),
    get(name) {
      const tool = tools.get(name as ToolName);
      if (tool !== undefined) return tool;
      const meant = nearest(name, tools.keys());
      throw new GateError("ERR_TOOL_UNKNOWN", `there is no tool \`${name.slice(0, 128)}\``, {
        remedy: meant === undefined ? absence : `did you mean \`${meant}\`?`,
      });
    },
  };
}

/** What there is to call where no project says otherwise. */
export function builtinCatalog(absence?: string): Catalog {
  return createCatalog([EXEC_TOOL], absence);
}
