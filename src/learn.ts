import { dirname, relative } from "node:path";
import type { Fragment } from "./contract/fragment.ts";
import type { EgressFact, NetworkProtocol } from "./contract/network.ts";
import { isWithin } from "./contract/within.ts";
import type { UsedFiles, UsedPath } from "./learn-files.ts";

/** With more used files than this in one folder, the folder is proposed. */
export const FOLDER_FILES_MAX = 4;
/** What a manifest takes of each list. */
export const PROPOSED_MAX = 256;

// biome-ignore lint/suspicious/noTemplateCurlyInString: a place in a manifest
const WORKSPACE = "${workspace}";
// biome-ignore lint/suspicious/noTemplateCurlyInString: as above; the Node that runs the gate
const NODE = "${node}";

export interface Learnt {
  readonly files: UsedFiles;
  readonly egress: readonly EgressFact[];
  /** Absolute, links followed. */
  readonly workspace: string;
  /** Where the Node that runs the gate is installed; unset, or `/usr`: it needs no grant of its own. */
  readonly node?: string;
}

interface Proposal extends UsedPath {
  /** How many used paths it stands for. */
  readonly paths: number;
}

interface Reach {
  readonly host: string;
  readonly port: number;
  readonly protocol: NetworkProtocol;
  readonly times: number;
  readonly refused: number;
}

/** Pure: what a run used -> what would let the next one have just that. */
export function learn({ files, egress, workspace, node }: Learnt): Fragment {
  const scope = { files, workspace, node: node === "/usr" ? undefined : node };
  const broad = files.used.filter((use) => isBroad(use, scope));
  const proposed = (access: UsedPath["access"]): readonly Proposal[] => {
    const used = files.used.filter((use) => use.access === access && !isBroad(use, scope));
    return generalised(
      used.map((use) => ({ ...use, paths: 1 })),
      scope,
    );
  };
  const write = proposed("write");
  const read = proposed("read").filter(({ path }) => !write.some((one) => isWithin(path, one.path)));
  const { reaches, unnamed } = reachesOf(egress);
  const over = [read, write, reaches].some((list) => list.length > PROPOSED_MAX);
  return {
    yaml: yamlOf(
      read.slice(0, PROPOSED_MAX),
      write.slice(0, PROPOSED_MAX),
      reaches.slice(0, PROPOSED_MAX),
      scope,
    ),
    flags: flagsOf(read, write, reaches, scope),
    notes: [
      ...files.withheld.map(({ path, times, why }) => `${shown(path)} ${timesText(times)}: ${why}`),
      ...broad.map(
        ({ path, access }) =>
          `${shown(path)} was used for ${access === "read" ? "reading" : "writing"}: too much to open`,
      ),
      ...unnamed,
      ...files.gaps,
      ...(over ? [`a manifest takes ${PROPOSED_MAX} of each; the rest is left out`] : []),
    ],
  };
}

/** Which rule would have let it pass: as a flag of `callgate exec`, and as a line of a manifest. */
export function ruleFor(fact: EgressFact): string {
  const reach = reachOf(fact, fact.port ?? 443);
  if (reach === undefined) return `no rule can name ${shown(fact.name)}`;
  const { method, path } = fact.request ?? {};
  const asks =
    method === undefined || path === undefined
      ? ""
      : `, http: [{ methods: [${shown(method)}], paths: [${shown(path)}] }]`;
  const flag = asks === "" ? `\`--net ${netFlag(reach)}\`, or ` : "";
  return `${flag}under \`sandbox.network.allow\`: \`- { ${ruleText(reach)}${asks} }\``;
}

interface Scope {
  readonly files: UsedFiles;
  readonly workspace: string;
  readonly node: string | undefined;
}

/** Many files of one folder become the folder, as long as that opens nothing that is never proposed. */
function generalised(used: readonly Proposal[], scope: Scope): readonly Proposal[] {
  const inNode = used.filter(({ path }) => scope.node !== undefined && isWithin(path, scope.node));
  const rest = used.filter((one) => !inNode.includes(one));
  const asNode = inNode.map((one) => ({ ...one, path: scope.node ?? one.path, kind: "folder" as const }));
  let proposals = merged([...rest, ...asNode]);
  for (;;) {
    const crowded = [...Map.groupBy(proposals, ({ path }) => dirname(path))].flatMap(([path, group]) => {
      const [first] = group;
      if (first === undefined || group.length <= FOLDER_FILES_MAX) return [];
      const folder: Proposal = { ...first, path, kind: "folder", times: 0, paths: 0 };
      return isBroad(folder, scope) ? [] : [folder];
    });
    // The deepest first, so that a folder stands for what is in it before its parent is looked at.
    const depth = Math.max(...crowded.map(({ path }) => depthOf(path)));
    if (crowded.length === 0) return proposals;
    proposals = merged([...proposals, ...crowded.filter(({ path }) => depthOf(path) === depth)]);
  }
}

function depthOf(path: string): number {
  return path.split("/").length;
}

/** One for each path, sorted; what lies in a folder that is proposed is counted there. */
function merged(proposals: readonly Proposal[]): readonly Proposal[] {
  const kept = new Map<string, Proposal>();
  // A folder comes before what is in it.
  for (const one of proposals.toSorted((a, b) => compare(a.path, b.path))) {
    const around = nearest(kept, one.path);
    if (around === undefined) kept.set(one.path, one);
    else {
      kept.set(around.path, {
        ...around,
        times: around.times + one.times,
        paths: around.paths + one.paths,
        granted: around.granted && one.granted,
      });
    }
  }
  return [...kept.values()];
}

/** What is kept of the path itself, or the folder around it that is. */
function nearest(kept: ReadonlyMap<string, Proposal>, path: string): Proposal | undefined {
  const itself = kept.get(path);
  if (itself !== undefined) return itself;
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const around = kept.get(folder);
    if (around?.kind === "folder") return around;
    if (folder === dirname(folder)) return undefined;
  }
}

/** The root, a folder of the root, a home, or what holds one; and what holds something that is never proposed. */
function isBroad({ path, access }: Pick<UsedPath, "path" | "access">, { files, workspace }: Scope): boolean {
  if (dirname(path) === "/" || isWithin(files.home, path)) return true;
  if (isWithin(path, workspace) && access === "read") return false;
  return files.never.some((one) => isWithin(one, path));
}

/** One for each name, port and protocol, sorted. */
function reachesOf(egress: readonly EgressFact[]): {
  readonly reaches: readonly Reach[];
  readonly unnamed: readonly string[];
} {
  const reaches = new Map<string, Reach>();
  const unnamed = new Set<string>();
  const counted = egress.flatMap(({ kind, why }) => (kind === "attempts" && why !== undefined ? [why] : []));
  for (const fact of egress.filter(({ kind }) => kind === "dns" || kind === "connection")) {
    const reach = fact.port === null ? undefined : reachOf(fact, fact.port);
    if (reach === undefined) {
      unnamed.add(fact.name);
      continue;
    }
    const key = `${reach.host} ${reach.protocol} ${String(reach.port).padStart(5, "0")}`;
    const known = reaches.get(key);
    const count = { times: (known?.times ?? 0) + 1, refused: (known?.refused ?? 0) + reach.refused };
    reaches.set(key, { ...reach, ...count });
  }
  const named = new Set([...reaches.values()].map(({ host }) => host));
  return {
    reaches: [...reaches].toSorted(([a], [b]) => compare(a, b)).map(([, reach]) => reach),
    unnamed: [
      ...[...unnamed]
        .filter((name) => !named.has(name))
        .toSorted(compare)
        .map((name) => `${shown(name)} was asked for by name, and no connection to it was seen`),
      ...counted,
    ],
  };
}

/** RFC 1123 2.1: what a rule can name; the underscore is no part of it. */
const HOST = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

function reachOf({ name, verdict }: EgressFact, port: number): Reach | undefined {
  if (!HOST.test(name)) return undefined;
  // TLS is known by a name; an address has none.
  const isAddress = /^[\d.]+$/.test(name);
  const protocol = port === 443 && !isAddress ? "tls" : port === 80 ? "http" : "tcp";
  return { host: name, port, protocol, times: 1, refused: Number(verdict === "refused") };
}

function ruleText({ host, port, protocol }: Reach): string {
  const ports = port === 443 ? "" : `, ports: [${port}]`;
  const how = protocol === "tls" ? "" : `, protocol: ${protocol}`;
  return `host: ${shown(host)}${ports}${how}`;
}

function netFlag({ host, port }: Reach): string {
  return port === 443 ? host : `${host}:${port}`;
}

function yamlOf(
  read: readonly Proposal[],
  write: readonly Proposal[],
  reaches: readonly Reach[],
  scope: Scope,
): string {
  const list = (name: string, proposals: readonly Proposal[]): readonly string[] => [
    ...(proposals.length === 0 ? [] : [`    ${name}:`]),
    ...proposals.map((one) => `      - ${shown(placed(one.path, scope))} # ${reasonOf(one)}`),
  ];
  const files = [...list("read", read), ...list("write", write)];
  const rules = reaches.map((reach) => `      - { ${ruleText(reach)} } # ${reachReason(reach)}`);
  return [
    "sandbox:",
    ...(files.length === 0 ? ["  files: {}"] : ["  files:", ...files]),
    ...(rules.length === 0 ? ["  network: none"] : ["  network:", "    allow:", ...rules]),
    "",
  ].join("\n");
}

function placed(path: string, { workspace, node }: Scope): string {
  if (path === node) return NODE;
  if (!isWithin(path, workspace)) return path;
  const rest = relative(workspace, path);
  return rest === "" ? WORKSPACE : `${WORKSPACE}/${rest}`;
}

function reasonOf({ access, times, granted, paths }: Proposal): string {
  const verb = access === "read" ? "read" : "written";
  const what = granted ? verb : `asked for, to be ${verb},`;
  return `${what} ${timesText(times)}${paths > 1 ? `, ${paths} paths` : ""}${granted ? "" : ", refused"}`;
}

function reachReason({ times, refused }: Reach): string {
  if (refused === 0) return `reached ${timesText(times)}`;
  return `asked for ${timesText(times)}, refused${refused < times ? ` ${timesText(refused)}` : ""}`;
}

/** `callgate exec` reads the workspace as it is. */
function flagsOf(
  read: readonly Proposal[],
  write: readonly Proposal[],
  reaches: readonly Reach[],
  { workspace }: Scope,
): readonly string[] {
  return [
    ...read.filter(({ path }) => !isWithin(path, workspace)).flatMap(({ path }) => ["--read", path]),
    ...write.flatMap(({ path }) => ["--write", path]),
    ...reaches.flatMap((reach) => ["--net", netFlag(reach)]),
  ];
}

/** One line to paste into a POSIX shell (POSIX.1-2017, Shell Command Language, 2.2.2). */
export function commandLine(flags: readonly string[], argv: readonly string[]): string {
  return ["callgate", "exec", ...flags, "--", ...argv].map(quoted).join(" ");
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/**
 * A name that somebody else chose, as text that stays on its line and acts on no terminal: a JSON string, and a YAML
 * double-quoted scalar (YAML 1.2.2, 5.7), with what cannot be seen written out.
 */
function shown(text: string): string {
  return JSON.stringify(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

function timesText(times: number): string {
  return times === 1 ? "once" : `${times} times`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
