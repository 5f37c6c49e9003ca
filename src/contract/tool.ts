import type { Digest, ToolName } from "./ids.ts";
import type { JsonObject } from "./json.ts";
import type { Network } from "./network.ts";
import type { Limits } from "./profile.ts";
import type { RootRequest } from "./root.ts";
import type { IsolationClass, Tier } from "./tier.ts";

/** A catalogued tool: a manifest that was parsed and checked. Frozen. */
export interface Tool {
  readonly name: ToolName;
  readonly description: string;
  readonly tier: Tier;
  readonly categories: readonly string[];
  /** JSON Schema 2020-12 of an object. */
  readonly input: JsonObject;
  readonly run: {
    /** An argument vector with `{name}` and `{...names}` places; never a shell line. */
    readonly command: readonly string[];
    /** A template such as `{body}` for standard input. */
    readonly stdin?: string;
    readonly allowLeadingDash: boolean;
    /** Fixed variables; the only ones beside `PATH HOME LANG TERM`. */
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly output: "text" | "json";
  readonly outputSchema?: JsonObject;
  readonly sandbox: {
    /** Unset: the tier's least. */
    readonly isolation?: IsolationClass;
    /** Unset: what the project's configuration says. */
    readonly root?: RootRequest;
    /** Paths with `${workspace}` and `${node}`; relative paths are inside the workspace. */
    readonly files: {
      readonly read: readonly string[];
      readonly write: readonly string[];
      readonly hide: readonly string[];
      /** Writes go to a private copy, applied when the tool has succeeded. */
      readonly staged?: true;
    };
    readonly network: Network;
    readonly limits: Limits;
  };
  /** Tools this one may call through the gate; empty: none. */
  readonly calls: readonly ToolName[];
  /** SHA-256 over the RFC 8785 form of everything above. */
  readonly digest: Digest;
}
