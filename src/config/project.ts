import type { Digest } from "../contract/ids.ts";
import { DEFAULT_SETTINGS, type Settings } from "./defaults.ts";
import type { Ignored } from "./narrow.ts";
import type { Snapshot } from "./snapshot.ts";
import type { Trust } from "./trust.ts";
import type { Workspace } from "./workspace.ts";

type Texts = ReadonlyMap<string, string>;

/** What is in force for one workspace: settings, and the texts of tools and policies that may be used. */
export interface Project {
  readonly workspace: Workspace;
  readonly settings: Settings;
  /** Undefined: there is no configuration, and built-in defaults apply. */
  readonly trust: Trust | undefined;
  /** What an untrusted configuration says in vain. */
  readonly ignored: readonly Ignored[];
  /** Texts by path; empty unless trusted. */
  readonly manifests: Texts;
  readonly policies: Texts;
  readonly policyTests: Texts;
  /** Paths and texts of authorities that are trusted beside the system's. */
  readonly authorities: Texts;
  /** Text of `callgate.lock`; undefined where there is none or the project is not trusted. */
  readonly lock: string | undefined;
  /** Over every text above; undefined where there is no configuration. */
  readonly digest: Digest | undefined;
}

const NOTHING: Texts = new Map();

/**
 * Reads a workspace's configuration once, compares it with what was trusted, and says what is in force. Without a
 * configuration it loads no parser.
 * @throws GateError `ERR_CONFIG_*` or `ERR_STATE_*`.
 */
export async function openProject(workspace: Workspace, stateDir: string): Promise<Project> {
  const none = {
    workspace,
    ignored: [],
    manifests: NOTHING,
    policies: NOTHING,
    policyTests: NOTHING,
    authorities: NOTHING,
    lock: undefined,
  };
  const { root, config } = workspace;
  if (config === undefined)
    return { ...none, settings: DEFAULT_SETTINGS, trust: undefined, digest: undefined };
  const [{ snapshotProject }, { readTrust }, { narrow }] = await Promise.all([
    import("./snapshot.ts"),
    import("./trust.ts"),
    import("./narrow.ts"),
  ]);
  const snapshot = snapshotProject(root, config);
  const trust = readTrust(snapshot, stateDir);
  const { digest, files } = snapshot;
  if (trust.state !== "trusted") return { ...none, ...narrow(snapshot.settings), trust, digest };
  const texts = (paths: readonly string[]): Texts =>
    new Map(paths.map((path) => [path, files.get(path) ?? ""]));
  return {
    workspace,
    settings: snapshot.settings,
    trust,
    ignored: [],
    manifests: texts(snapshot.manifests),
    policies: texts(snapshot.policies),
    policyTests: texts(snapshot.policyTests),
    authorities: await authoritiesOf(snapshot),
    lock: snapshot.lock === undefined ? undefined : files.get(snapshot.lock),
    digest,
  };
}

/** Most projects name none, and need no more to be loaded. */
async function authoritiesOf(snapshot: Snapshot): Promise<Texts> {
  const paths = snapshot.settings.egress.authorities;
  if (paths.length === 0) return NOTHING;
  const texts = (await import("./authorities.ts")).authoritiesIn(snapshot);
  return new Map(paths.map((path, index) => [path, texts[index] ?? ""]));
}
