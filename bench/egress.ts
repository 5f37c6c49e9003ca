// What the gate's edge of the network costs: one stream passed through, the time to its first byte, requests that are
// opened, namespaces, and calls that use the network one after another. SECONDS sets how long the last part takes.
import { fork, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ExecInput } from "../src/catalog/exec-input.ts";
import { startDnsServer } from "../src/egress/dns-server.fixture.ts";
import { Guard } from "../src/egress/guard.ts";
import type { Gate } from "../src/gate.ts";
import { openGate } from "../src/open-gate.ts";
import { nativeProgram } from "../src/sandbox/native.ts";
import { readChildren } from "../src/sandbox/procfs.ts";
import { ROOT_STANDS_BACK } from "../src/sandbox/user.ts";
import { installSrt, makeWorkspace, trusted } from "./peers.ts";
import { percentile, printTable, type Row } from "./table.ts";

const NAME = "stream.test";
const ROUNDS = 9;
const MEBIBYTES = 400;
const CALLERS = 8;
/** How often in the last part it is looked at what is held: growth that goes on can be seen by that. */
const LOOKS = 4;
const SECONDS = Number(process.env["SECONDS"] ?? 30);
const FORMAT = "%{speed_download} %{time_starttransfer} %{time_namelookup} %{http_code}\\n";

interface Server {
  readonly pem: string;
  readonly https: number;
  readonly line: number;
}

/** What curl says of one download: MB a second, ms until the name is known, and from then until the first byte. */
interface Told {
  readonly rate: number;
  readonly lookupMs: number;
  readonly firstByteMs: number;
}

function told(text: string): Told {
  const [rate = "0", first = "0", lookup = "0", code] = text.trim().split(" ");
  if (code !== "200") throw new Error(`curl says: ${text}`);
  const firstByteMs = (Number(first) - Number(lookup)) * 1000;
  return { rate: Number(rate) / 1e6, lookupMs: Number(lookup) * 1000, firstByteMs };
}

const base = mkdtempSync(join(tmpdir(), "callgate-bench-"));
chmodSync(base, 0o755);
const place = makeWorkspace(base);
const { workspace } = place;
const child = fork(join(import.meta.dirname, "egress-server.ts"), {
  stdio: ["ignore", "inherit", "inherit", "ipc"],
});
const server = await new Promise<Server>((done) =>
  child.once("message", (message) => done(message as Server)),
);
const dns = await startDnsServer({ answers: new Map([[NAME, ["127.0.0.1"]]]) });
writeFileSync(join(workspace, "ca.pem"), server.pem);
const state = join(base, "state");
writeFileSync(
  join(workspace, "opened.yaml"),
  openedManifest("opened.ask", 'http: [{ methods: [GET], paths: ["/*"] }]'),
);
writeFileSync(join(workspace, "injected.yaml"), openedManifest("injected.ask", "credential: bench"));
process.env["XDG_CONFIG_HOME"] = join(base, "config");
process.env["CALLGATE_BENCH_TOKEN"] = "not-a-secret-value";
mkdirSync(join(base, "config/callgate"), { recursive: true, mode: 0o700 });
writeFileSync(
  join(base, "config/callgate/credentials.yaml"),
  `version: 1\ncredentials:\n  bench: { host: "${NAME}:${server.https}", from: { environment: CALLGATE_BENCH_TOKEN }, kind: bearer, tools: ["*"] }\n`,
  { mode: 0o600 },
);
trusted(
  workspace,
  state,
  `version: 1\ncatalog: [opened.yaml, injected.yaml]\negress: { resolvers: ["${dns.address}"], authorities: [ca.pem] }\n`,
);
const gate = await openGate({ workingDirectory: workspace, state });

function openedManifest(name: string, rule: string): string {
  return `name: ${name}
description: Many requests over one connection
tier: medium
input: { type: object, properties: { count: { type: string } }, required: [count], additionalProperties: false }
run: { command: ["curl", "-sS", "-o", "/dev/null", "-w", "%{{http_code}}\\\\n", "https://${NAME}:${server.https}/[1-{count}]"] }
sandbox:
  files: { read: ["\${workspace}"] }
  network:
    allow:
      - { host: ${NAME}, ports: [${server.https}], allowPrivate: true, ${rule} }
`;
}

const curl = (path: string): readonly string[] => [
  // One authority for all of them: reading the system's takes 40 ms.
  ...[
    "curl",
    "-sS",
    "--cacert",
    join(workspace, "ca.pem"),
    "-o",
    "/dev/null",
    "-w",
    FORMAT,
    `https://${NAME}:${server.https}${path}`,
  ],
];

function direct(path: string): Told {
  const [program = "", ...words] = curl(path);
  const options = ["--resolve", `${NAME}:${server.https}:127.0.0.1`];
  return told(spawnSync(program, [...options, ...words], { encoding: "utf8" }).stdout);
}

async function exec(of: Gate, command: readonly string[], host: string): Promise<string> {
  const input = new ExecInput({ command, hosts: [host], workingDirectory: workspace });
  const { outcome, exitCode, stdout, stderr, error } = await of.call({ tool: "callgate.exec", input });
  if (outcome !== "exited" || exitCode !== 0)
    throw new Error(error?.message ?? `${outcome} ${exitCode}: ${stderr}`);
  return stdout;
}

const through = async (path: string): Promise<Told> =>
  told(await exec(gate, curl(path), `${NAME}:${server.https},tls,private`));

/** In a mount namespace of its own, where the name is in the hosts file; undefined where that is not possible. */
function srt(): ((path: string) => Told) | undefined {
  if (process.geteuid?.() !== 0) return void console.log("srt is left out: its hosts file needs root");
  const cli = installSrt(place);
  if (cli === undefined) return undefined;
  const hosts = join(base, "hosts");
  writeFileSync(hosts, `127.0.0.1 localhost ${NAME}\n`);
  // Its own user's: it makes files there.
  const folder = join(base, "srt-work");
  mkdirSync(folder);
  const settings = join(base, "srt.json");
  writeFileSync(
    settings,
    JSON.stringify({
      // It refuses names that lead to loopback unless the address is listed too.
      network: { allowedDomains: [NAME, "127.0.0.1"], deniedDomains: [] },
      filesystem: { denyRead: [], allowWrite: ["."], denyWrite: [] },
    }),
  );
  return (path) => {
    const command = curl(path)
      .map((word) => `'${word.replace("\\n", "")}'`)
      .join(" ");
    const script = `mount --bind ${hosts} /etc/hosts && cd ${folder} && exec "$@"`;
    const words = ["bash", "-c", script, "x", process.execPath, cli, "--settings", settings, "-c"];
    const { stdout, stderr } = spawnSync("unshare", ["-m", ...words, command], {
      encoding: "utf8",
      timeout: 120_000,
    });
    if (!/200\s*$/.test(stdout)) throw new Error(`srt says: ${stdout}${stderr}`);
    return told(stdout.trim().split("\n").at(-1) ?? "");
  };
}

function target(what: string, isMet: boolean): void {
  console.log(`target: ${what}: ${isMet ? "met" : "MISSED"}`);
}

/** Alternating, so that a drift of the machine's speed falls on all of them alike. */
async function streams(): Promise<void> {
  const peer = srt();
  const rates: Record<string, number[]> = { direct: [], gate: [], srt: [] };
  const firsts: Record<string, number[]> = { direct: [], gate: [], srt: [] };
  const lookups: number[] = [];
  const note = (name: string, { rate }: Told, { firstByteMs, lookupMs }: Told): void => {
    if (name === "gate") lookups.push(lookupMs);
    rates[name]?.push(rate);
    firsts[name]?.push(firstByteMs);
  };
  let peerFails: string | undefined = peer === undefined ? "it is not here" : undefined;
  for (let round = -1; round < ROUNDS; round += 1) {
    const all: (readonly [string, Told, Told])[] = [
      ["direct", direct(`/big/${MEBIBYTES}`), direct("/small")],
      ["gate", await through(`/big/${MEBIBYTES}`), await through("/small")],
    ];
    if (peer !== undefined && peerFails === undefined) {
      try {
        all.push(["srt", peer(`/big/${MEBIBYTES}`), peer("/small")]);
      } catch (error) {
        peerFails = String(error);
      }
    }
    if (round >= 0) for (const one of all) note(...one);
  }
  if (peerFails !== undefined) console.log(`srt is left out: ${peerFails}`);
  const rows = (of: Record<string, number[]>): readonly Row[] =>
    Object.entries(of).flatMap(([name, samples]) => (samples.length === 0 ? [] : [{ name, samples }]));
  printTable(`one TLS stream of ${MEBIBYTES} MiB, MB a second (not ms)`, rows(rates));
  printTable("from the name's answer to the first byte, TLS handshake and all", rows(firsts));
  console.log(`the name's answer in the sandbox: median ${percentile(lookups, 0.5).toFixed(2)} ms`);
  const median = (of: Record<string, number[]>, name: string): number => percentile(of[name] ?? [], 0.5);
  const share = median(rates, "gate") / median(rates, "direct");
  target(`passed through >= 0.8 of direct; is ${share.toFixed(2)}`, share >= 0.8);
  const added = median(firsts, "gate") - median(firsts, "direct");
  target(`first byte within 1 ms of direct; is ${added.toFixed(2)} ms`, added <= 1);
  if ((rates["srt"] ?? []).length < ROUNDS) {
    console.log("target: passed through >= 3 times srt: NOT MEASURED");
    return;
  }
  const times = median(rates, "gate") / median(rates, "srt");
  target(`passed through >= 3 times srt; is ${times.toFixed(2)}`, times >= 3);
  console.log(`first byte: srt adds ${(median(firsts, "srt") - median(firsts, "direct")).toFixed(2)} ms`);
}

/** Requests one after another over one connection that a rule opens; curl's start is in the time. */
async function requests(): Promise<void> {
  const count = 1_000;
  for (const tool of ["opened.ask", "injected.ask"]) {
    const samples: number[] = [];
    for (let round = -1; round < 5; round += 1) {
      const { stdout, usage, error } = await gate.call({ tool, input: { count: `${count}` } });
      const answered = stdout.split("\n").filter((line) => line === "200").length;
      if (answered !== count)
        throw new Error(`${answered} of ${count} were answered: ${error?.message ?? ""}`);
      if (round >= 0) samples.push((count * 1000) / (usage?.wallMs ?? Number.NaN));
    }
    const [least, most] = [Math.min(...samples), Math.max(...samples)];
    const spread = `${least.toFixed(0)} to ${most.toFixed(0)}`;
    console.log(`${tool}: median ${percentile(samples, 0.5).toFixed(0)} requests a second (${spread})`);
  }
}

async function namespaces(): Promise<void> {
  const isRoot = process.geteuid?.() === 0;
  await using guard = new Guard({
    program: nativeProgram("guard") ?? "",
    ...(isRoot ? { user: ROOT_STANDS_BACK } : {}),
  });
  const rows: Row[] = [];
  for (const listeners of [1, 8, 64]) {
    const samples: number[] = [];
    for (let i = -5; i < 100; i += 1) {
      const begun = performance.now();
      const space = await guard.make(
        Array.from({ length: listeners }, (_, index) => ({ address: `198.18.0.${index + 2}`, port: 443 })),
      );
      if (i >= 0) samples.push(performance.now() - begun);
      await space[Symbol.asyncDispose]();
    }
    rows.push({ name: `${listeners} listeners`, samples });
  }
  printTable("making a guarded namespace", rows);
}

async function pooled(): Promise<void> {
  const samples: Record<string, number[]> = {
    "without a network": [],
    "with one host": [],
    "with one host, asked": [],
  };
  const line = `cat < /dev/tcp/${NAME}/${server.line}`;
  const input = (command: readonly string[], hosts: readonly string[]): ExecInput =>
    new ExecInput({ command, hosts, workingDirectory: workspace });
  const kinds = [
    input(["true"], []),
    input(["true"], [`${NAME}:${server.line},private`]),
    input(["bash", "-c", line], [`${NAME}:${server.line},private`]),
  ];
  for (let round = -5; round < 60; round += 1) {
    for (const [index, one] of kinds.entries()) {
      await sleep(60);
      const begun = performance.now();
      const { exitCode } = await gate.call({ tool: "callgate.exec", input: one });
      if (exitCode !== 0) throw new Error("a call failed");
      if (round >= 0) Object.values(samples)[index]?.push(performance.now() - begun);
    }
  }
  printTable(
    "one call from the pool, calls apart",
    Object.entries(samples).map(([name, all]) => ({ name, samples: all })),
  );
}

interface Holdings {
  readonly rssMiB: number;
  readonly heapMiB: number;
  readonly descriptors: number;
  readonly processes: number;
}

function holdings(): Holdings {
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const below = (pid: number): number => readChildren(pid).reduce((count, one) => count + 1 + below(one), 0);
  return {
    rssMiB: Math.round(rss / 2 ** 20),
    heapMiB: Math.round(heapUsed / 2 ** 20),
    descriptors: readdirSync("/proc/self/fd").length,
    processes: below(process.pid),
  };
}

/** Each call reaches the host once. */
async function sustained(): Promise<void> {
  const host = `${NAME}:${server.line},private`;
  const command = ["bash", "-c", `cat < /dev/tcp/${NAME}/${server.line}`];
  const samples: number[] = [];
  const run = async (seconds: number): Promise<void> => {
    const until = performance.now() + seconds * 1000;
    await Promise.all(
      Array.from({ length: CALLERS }, async () => {
        while (performance.now() < until) {
          const begun = performance.now();
          await exec(gate, command, host);
          samples.push(performance.now() - begun);
        }
      }),
    );
    await sleep(3_000);
  };
  // The pool and the kept namespaces are as full as they get before what is held is looked at.
  await run(5);
  const held = [holdings()];
  samples.length = 0;
  for (let part = 0; part < LOOKS; part += 1) {
    await run(SECONDS / LOOKS);
    held.push(holdings());
  }
  console.log(
    `\n${CALLERS} callers for ${SECONDS} s, each call reaches a host once; what the gateway holds:`,
  );
  for (const [part, one] of held.entries())
    console.log(`after ${((SECONDS / LOOKS) * part).toFixed(0)} s: ${JSON.stringify(one)}`);
  printTable("a call", [{ name: "networked", samples }]);
  const rate = samples.length / SECONDS;
  target(`networked calls >= 200 a second; is ${rate.toFixed(0)}`, rate >= 200);
  const [before, after] = [held[0], held.at(-1)];
  if (before === undefined || after === undefined) throw new Error("nothing was looked at");
  const grown = after.descriptors - before.descriptors + after.processes - before.processes;
  target(`descriptors and processes as before, but for 10; ${grown} more`, grown <= 10);
}

const parts = { streams, requests, namespaces, pooled, sustained };
const asked = process.env["PARTS"]?.split(",");
try {
  for (const [name, part] of Object.entries(parts)) if (asked?.includes(name) ?? true) await part();
} finally {
  await gate[Symbol.asyncDispose]();
  await dns[Symbol.asyncDispose]();
  child.disconnect();
  rmSync(base, { recursive: true, force: true });
}
