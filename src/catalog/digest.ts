import canonicalize from "canonicalize";
import { type Digest, digestOf } from "../contract/ids.ts";
import type { Tool } from "../contract/tool.ts";

/** A tool without its digest: what the digest is over. */
export type ToolDefinition = Omit<Tool, "digest">;

/** SHA-256 over the RFC 8785 form of a definition. The order in which a manifest writes its keys does not matter. */
export function digestTool(definition: ToolDefinition): Digest {
  return digestOf(canonicalize(definition) ?? "");
}
