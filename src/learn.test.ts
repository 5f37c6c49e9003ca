import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, it } from "node:test";
import fc from "fast-check";
import { parse as parseYaml } from "yaml";
import { manifest, WORKSPACE as PLACE, parse } from "./catalog/manifest.fixture.ts";
import { parseNetText } from "./catalog/network-text.ts";
import type { Fragment } from "./contract/fragment.ts";
import type { EgressFact } from "./contract/network.ts";
import { commandLine, FOLDER_FILES_MAX, learn, PROPOSED_MAX, ruleFor } from "./learn.ts";
import type { UsedFiles, UsedPath } from "./learn-files.ts";

const WORKSPACE = "/srv/project";
const HOME = "/home/ada";

function use(path: string, more: Partial<UsedPath> = {}): UsedPath {
  return { path, kind: "file", access: "read", times: 1, granted: false, ...more };
}

function fact(name: string, port: number | null, more: Partial<EgressFact> = {}): EgressFact {
  return {
    verdict: "refused",
    kind: port === null ? "dns" : "connection",
    name,
    port,
    startedMs: 0,
    durationMs: 0,
    bytesSent: 0,
    bytesReceived: 0,
    ...more,
  };
}

function fragment(
  used: readonly UsedPath[],
  egress: readonly EgressFact[] = [],
  more: Partial<UsedFiles> & { readonly node?: string } = {},
): Fragment {
  const { node, ...rest } = more;
  const never = [`${HOME}/.ssh`, `${HOME}/.config/gh`, "/var/lib/callgate"];
  const files: UsedFiles = { used, withheld: [], never, home: HOME, gaps: [], ...rest };
  return learn({ files, egress, workspace: WORKSPACE, ...(node === undefined ? {} : { node }) });
}

interface Read {
  readonly sandbox: {
    readonly files: { readonly read?: readonly string[]; readonly write?: readonly string[] };
    readonly network: "none" | { readonly allow: readonly Readonly<Record<string, unknown>>[] };
  };
}

function read({ yaml }: Fragment): Read["sandbox"] {
  return (parseYaml(yaml) as Read).sandbox;
}

describe("the fragment of a manifest", () => {
  it("names what was used, sorted, once, relative to the workspace, and says why", () => {
    const { yaml, notes } = fragment([
      use("/opt/data/b.json", { times: 12 }),
      use(`${WORKSPACE}/src/a.ts`, { granted: true }),
      use("/opt/data/a.json"),
      use(`${WORKSPACE}/build`, { kind: "folder", access: "write", times: 2 }),
      use(`${WORKSPACE}/build/x`, { granted: true }),
    ]);
    assert.equal(
      yaml,
      [
        "sandbox:",
        "  files:",
        "    read:",
        '      - "/opt/data/a.json" # asked for, to be read, once, refused',
        '      - "/opt/data/b.json" # asked for, to be read, 12 times, refused',
        `      - "\${workspace}/src/a.ts" # read once`,
        "    write:",
        `      - "\${workspace}/build" # asked for, to be written, 2 times, refused`,
        "  network: none",
        "",
      ].join("\n"),
    );
    assert.deepEqual(notes, []);
  });

  it("is taken by the manifest's own parser", () => {
    const { yaml } = fragment([
      use(`${WORKSPACE}/it's "odd" \\ # : [name]`),
      use(`${WORKSPACE}/ключ`),
      use(`${WORKSPACE}/\u{202e}turned\u{e0041}`),
      use("/opt/tool", { kind: "folder" }),
      use(`${WORKSPACE}/out`, { kind: "folder", access: "write" }),
    ]);
    const { files } = parse(manifest({ tier: "medium", rest: yaml })).sandbox;
    assert.deepEqual(files.read, [
      "/opt/tool",
      `\${workspace}/it's "odd" \\ # : [name]`,
      `${PLACE}/ключ`,
      `${PLACE}/\u{202e}turned\u{e0041}`,
    ]);
    assert.deepEqual(files.write, [`${PLACE}/out`]);
    assert.ok(!/[\u{202e}\u{e0041}]/u.test(yaml), "nothing in it turns what a person reads");
    assert.deepEqual(parse(manifest({ rest: fragment([]).yaml })).sandbox.files.read, []);
  });

  it("has a folder for many of its files, and for many of its folders", () => {
    const many = (folder: string, count: number): UsedPath[] =>
      Array.from({ length: count }, (_, at) => use(`${folder}/${at}`));
    assert.equal(read(fragment(many("/opt/a", FOLDER_FILES_MAX))).files.read?.length, FOLDER_FILES_MAX);
    assert.deepEqual(read(fragment(many("/opt/a", FOLDER_FILES_MAX + 1))).files.read, ["/opt/a"]);
    const deep = Array.from({ length: FOLDER_FILES_MAX + 1 }, (_, at) =>
      many(`/opt/a/b/${at}`, FOLDER_FILES_MAX + 1),
    ).flat();
    assert.deepEqual(read(fragment(deep)).files.read, ["/opt/a/b"]);
    assert.match(fragment(deep).yaml, /asked for, to be read, 25 times, 25 paths, refused/);
    assert.deepEqual(read(fragment(many(WORKSPACE, 9))).files.read, [PLACE]);
  });

  it("never has the root, a folder of the root, a home, or a folder around what is never proposed", () => {
    const many = (folder: string, access: UsedPath["access"] = "read"): UsedPath[] =>
      Array.from({ length: 9 }, (_, at) => use(`${folder === "/" ? "" : folder}/${at}`, { access }));
    for (const folder of ["/etc", "/opt", HOME, `${HOME}/.config`, "/var/lib"]) {
      for (const access of ["read", "write"] as const) {
        const paths = read(fragment(many(folder, access))).files[access] ?? [];
        assert.equal(paths.length, 9, `${access} ${folder}: ${paths}`);
      }
    }
    assert.deepEqual(read(fragment(many("/"))).files, {});
    const broad = ["/", "/etc", "/home", HOME, `${HOME}/.config`].map((path) =>
      use(path, { kind: "folder" }),
    );
    const { yaml, notes } = fragment(broad);
    assert.match(yaml, /files: \{\}/);
    assert.equal(notes.filter((note) => note.includes("too much to open")).length, 5);
  });

  it("never has a home, though nothing in it is withheld", () => {
    const { yaml } = fragment([use(HOME, { kind: "folder" })], [], { never: [] });
    assert.match(yaml, /files: \{\}/);
  });

  it("opens for writing no workspace that holds what is never proposed", () => {
    const never = [`${WORKSPACE}/.state`];
    const writing = use(WORKSPACE, { kind: "folder", access: "write" });
    assert.equal(read(fragment([writing], [], { never })).files.write, undefined);
    assert.deepEqual(read(fragment([writing])).files.write, [PLACE]);
    assert.deepEqual(read(fragment([{ ...writing, access: "read" }], [], { never })).files.read, [PLACE]);
  });

  it("names the Node that runs the gate by its place", () => {
    const inNode = [use("/opt/node/bin/node"), use("/opt/node/lib/x")];
    const { yaml, flags } = fragment(inNode, [], { node: "/opt/node" });
    assert.match(yaml, /- "\$\{node\}" # .*2 paths/);
    assert.deepEqual(flags, ["--read", "/opt/node"]);
    assert.doesNotMatch(fragment([use("/usr/x/y")], [], { node: "/usr" }).yaml, /node/);
  });

  it("is bounded as a manifest is, and says so", () => {
    const used = Array.from({ length: PROPOSED_MAX + 3 }, (_, at) => use(`/opt/${at}/x`));
    const all = fragment(used);
    assert.equal(read(all).files.read?.length, PROPOSED_MAX);
    assert.match(all.notes.at(-1) ?? "", /rest is left out/);
    assert.equal(parse(manifest({ rest: all.yaml })).sandbox.files.read.length, PROPOSED_MAX);
  });

  it("covers every path that was used and may be proposed, whatever they are, and opens nothing that never is", () => {
    const segment = fc.constantFrom("a", "b", "c", "d", "e", "f", ".ssh", ".config", "gh", "it's", "#");
    const path = fc
      .tuple(
        fc.constantFrom(WORKSPACE, HOME, "/opt", "/etc"),
        fc.array(segment, { minLength: 1, maxLength: 4 }),
      )
      .map(([root, rest]) => [root, ...rest].join("/"));
    fc.assert(
      fc.property(fc.array(path, { maxLength: 60 }), (paths) => {
        const secret = (one: string): boolean => /^\/home\/ada\/(\.ssh|\.config\/gh)(\/|$)/.test(one);
        const used = paths.filter((one) => !secret(one)).map((one) => use(one));
        const proposed = (read(fragment(used)).files.read ?? []).map((one) => one.replace(PLACE, WORKSPACE));
        const covers = (one: string): boolean =>
          proposed.some((by) => one === by || one.startsWith(`${by}/`));
        const tooBroad = [HOME, `${HOME}/.config`, "/opt", "/etc"];
        for (const { path: one } of used)
          if (!tooBroad.includes(one)) assert.ok(covers(one), `${one} of ${proposed}`);
        assert.ok(!covers(`${HOME}/.ssh/id`) && !covers(`${HOME}/.config/gh/hosts`), `${proposed}`);
        assert.deepEqual(proposed.toSorted(), [...new Set(proposed)].toSorted());
      }),
    );
  });
});

describe("the fragment's network", () => {
  it("has a rule for each name and port that was tried, and says how often", () => {
    const { yaml, flags } = fragment(
      [],
      [
        fact("db.internal", 5432, { verdict: "allowed" }),
        fact("api.example.com", 443),
        fact("api.example.com", null),
        fact("api.example.com", 443),
        fact("api.example.com", 443, { verdict: "allowed" }),
        fact("api.example.com", 80),
        fact("192.0.2.7", 443),
        fact("api.example.com", 443, { kind: "request" }),
      ],
    );
    assert.deepEqual(read({ yaml, flags, notes: [] }).network, {
      allow: [
        { host: "192.0.2.7", ports: [443], protocol: "tcp" },
        { host: "api.example.com", ports: [80], protocol: "http" },
        { host: "api.example.com" },
        { host: "db.internal", ports: [5432], protocol: "tcp" },
      ],
    });
    assert.match(yaml, /- \{ host: "api\.example\.com" \} # asked for 3 times, refused 2 times$/m);
    assert.match(yaml, /"db\.internal".* # reached once$/m);
    assert.deepEqual(flags, [
      ...["--net", "192.0.2.7:443,tcp", "--net", "api.example.com:80"],
      ...["--net", "api.example.com", "--net", "db.internal:5432"],
    ]);
  });

  it("has no rule for what was only asked for by name, or for what is no name", () => {
    const { yaml, notes } = fragment([], [fact("quiet.example", null), fact("a_b.\u{202e}example", 443)]);
    assert.match(yaml, /network: none/);
    assert.equal(notes.length, 2);
    assert.ok(notes.every((note) => !note.includes("\u{202e}")));
  });
});

describe("the rule for a name", () => {
  it("is told as a flag and as a line of a manifest", () => {
    assert.equal(
      ruleFor("api.example.com"),
      '`--net api.example.com` (`api.example.com:PORT` for another than 443), or under `sandbox.network.allow`: `- { host: "api.example.com" }`',
    );
    assert.match(ruleFor("192.0.2.1"), /^`--net 192\.0\.2\.1:443,tcp`.*protocol: tcp \}`/);
    assert.equal(
      ruleFor("a_b.example.com"),
      'no rule can name "a_b.example.com", and one for `*.example.com` has it',
    );
    for (const name of ["not a name", "198.18.0.20", "1.2.3", "x.localhost"])
      assert.equal(ruleFor(name), `no rule can name ${JSON.stringify(name)}`);
  });
});

describe("what was reached", () => {
  it("is proposed as one and the same rule, in the manifest and as a flag", () => {
    const places: readonly [string, number][] = [
      ["a.example.com", 443],
      ["a.example.com", 8443],
      ["a.example.com", 80],
      ["a.example.com", 5432],
      ["192.0.2.1", 443],
      ["192.0.2.1", 22],
    ];
    const { yaml, flags } = fragment(
      [],
      places.map(([name, port]) => fact(name, port)),
    );
    const byFlag = flags.filter((flag) => flag !== "--net").map((flag) => parseNetText(flag));
    const { network } = parse(manifest({ tier: "medium", rest: yaml })).sandbox;
    assert.ok(network.mode === "names");
    assert.deepEqual(network.allow, byFlag);
    assert.equal(byFlag.length, places.length);
  });

  it("leaves out what no rule can name, and says so", () => {
    const egress = ["198.18.0.20", "1.2.3", "x.localhost"].map((name) => fact(name, 443));
    const { yaml, notes } = fragment([], egress);
    assert.match(yaml, /network: none/);
    assert.equal(notes.filter((note) => note.includes("no connection to it was seen")).length, 3);
    assert.match(notes[0] ?? "", /ports 21, 22, 25, 80, 443/);
  });

  it("is no more in flags than a manifest takes", () => {
    const egress = Array.from({ length: PROPOSED_MAX + 5 }, (_, at) => fact(`h${at}.example.com`, 443));
    assert.equal(fragment([], egress).flags.length, 2 * PROPOSED_MAX);
  });
});

describe("many paths", () => {
  it("take no longer for being read and written", { timeout: 20_000 }, () => {
    const paths = Array.from({ length: 20_000 }, (_, at) => `/srv/project/d${at}/f`);
    const used = paths.flatMap((path) => [use(path), use(`${path}w`, { access: "write" })]);
    assert.ok(fragment(used).notes.some((note) => note.includes(`${PROPOSED_MAX} of each`)));
  });
});

describe("the command line", () => {
  it("reads the same in a shell", () => {
    const words = ["it's", "a b", "", "$HOME", "`x`", "plain", "\n", "-"];
    const line = commandLine(["--read", "/a b"], words).replace(/^callgate exec /, "printf '<%s>' ");
    const { stdout } = spawnSync("sh", ["-c", line], { encoding: "utf8" });
    assert.equal(stdout, ["--read", "/a b", "--", ...words].map((word) => `<${word}>`).join(""));
  });
});
