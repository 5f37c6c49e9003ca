import { dirname, relative } from "node:path";
import { parseNetText } from "./catalog/network-text.ts";
import type { Fragment } from "./contract/fragment.ts";
import type { EgressFact, NetworkProtocol } from "./contract/network.ts";
import { isWithin } from "./contract/within.ts";
import { OBSERVED_PORTS } from "./egress/names.ts";
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
  /** As `--net` takes it. */
  readonly flag: string;
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
  const written = new Set(write.map(({ path }) => path));
  const read = proposed("read").filter(({ path }) => !withAncestors(path).some((one) => written.has(one)));
  const { reaches, unnamed } = reachesOf(egress);
  const over = [read, write, reaches].some((list) => list.length > PROPOSED_MAX);
  const first = <T>(list: readonly T[]): readonly T[] => list.slice(0, PROPOSED_MAX);
  return {
    yaml: yamlOf(first(read), first(write), first(reaches), scope),
    flags: flagsOf(first(read), first(write), first(reaches), scope),
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

/** Which rule would have let a name be found: as a flag of `callgate exec`, and as a line of a manifest. */
export function ruleFor(name: string): string {
  const rule = ruleOf(name, 443);
  if (rule === undefined) {
    // Names have underscores that hosts in rules may not have (RFC 2181 11, RFC 1123 2.1).
    const above = `*${name.slice(name.indexOf("."))}`;
    const isCovered = name.includes("_") && ruleOf(above, 443) !== undefined;
    return `no rule can name ${shown(name)}${isCovered ? `, and one for \`${above}\` has it` : ""}`;
  }
  const line = `\`- { ${ruleText({ ...rule, port: 443 })} }\``;
  return `\`--net ${rule.flag}\` (\`${name}:PORT\` for another than 443), or under \`sandbox.network.allow\`: ${line}`;
}

interface Scope {
  readonly files: UsedFiles;
  readonly workspace: string;
  readonly node: string | undefined;
}

/** Many files of one folder become the folder, as long as that opens nothing that is never proposed. */
function generalised(used: readonly Proposal[], scope: Scope): readonly Proposal[] {
  const isInNode = ({ path }: Proposal): boolean => scope.node !== undefined && isWithin(path, scope.node);
  const rest = used.filter((one) => !isInNode(one));
  const asNode = used
    .filter(isInNode)
    .map((one) => ({ ...one, path: scope.node ?? one.path, kind: "folder" as const }));
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
  return withAncestors(dirname(path))
    .map((folder) => kept.get(folder))
    .find((around) => around?.kind === "folder");
}

/** The path itself, and every folder around it, the nearest first. */
function withAncestors(path: string): readonly string[] {
  const all = [path];
  for (let folder = dirname(path); folder !== all.at(-1); folder = dirname(folder)) all.push(folder);
  return all;
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
        .map(
          (name) =>
            `${shown(name)} was asked for by name, and no connection to it was seen; a learning run hears those to ports ${OBSERVED_PORTS.join(", ")} and those that a rule names`,
        ),
      ...counted,
    ],
  };
}

function reachOf({ name, verdict }: EgressFact, port: number): Reach | undefined {
  const rule = ruleOf(name, port);
  return rule && { ...rule, port, times: 1, refused: Number(verdict === "refused") };
}

/** Undefined where no rule can name it. */
function ruleOf(name: string, port: number): Pick<Reach, "host" | "protocol" | "flag"> | undefined {
  // TLS is known by a name; an address has none.
  const how = /^[\d.]+$/.test(name) ? ",tcp" : "";
  const flag = `${name}${port === 443 && how === "" ? "" : `:${port}`}${how}`;
  try {
    const { host, protocol } = parseNetText(flag);
    return host === name ? { host, protocol, flag } : undefined;
  } catch {
    return undefined;
  }
}

function ruleText({ host, port, protocol }: Pick<Reach, "host" | "port" | "protocol">): string {
  const ports = port === 443 && protocol === "tls" ? "" : `, ports: [${port}]`;
  const how = protocol === "tls" ? "" : `, protocol: ${protocol}`;
  return `host: ${shown(host)}${ports}${how}`;
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
    ...reaches.flatMap(({ flag }) => ["--net", flag]),
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
