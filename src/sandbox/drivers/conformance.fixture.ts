import assert from "node:assert/strict";
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KilledBy } from "../../contract/execution.ts";
import type { Limits, Profile } from "../../contract/profile.ts";
import { CONTROLS, TIER_MINIMUMS } from "../../contract/tier.ts";
import type { Command, Driver, ReleaseOptions } from "../driver.ts";
import type { ProfileRequest } from "../grants.ts";
import { type Ran, UNCHECKED } from "../sandbox.fixture.ts";
import { ROOT_STANDS_BACK } from "../user.ts";

/** A workspace with `a.txt` in it, and a driver; each driver's own fixture makes one. */
export interface AnyBench extends AsyncDisposable {
  readonly workspace: string;
  readonly driver: Driver;
  profile(request?: Partial<ProfileRequest>, limits?: Partial<Limits>): Profile;
  run(
    argv: readonly string[],
    options?: ReleaseOptions & { readonly profile?: Profile; readonly stdin?: Command["stdin"] },
  ): Promise<Ran>;
}

/** One thing that means the same under every driver. Programs are a POSIX shell's and its utilities'. */
export interface ConformanceCase {
  readonly name: string;
  readonly check: (bench: AnyBench) => Promise<void>;
}

const MIB = 1024 * 1024;
const SH = (script: string): readonly string[] => ["sh", "-c", script];

export const CONFORMANCE: readonly ConformanceCase[] = [
  {
    name: "every control that a tier requires is enforced, with evidence that can be read",
    check: async (bench) => {
      const { controls } = await bench.run(["true"]);
      for (const name of TIER_MINIMUMS.low.controls)
        assert.equal(controls[name].state, "enforced", `${name}: ${controls[name].evidence}`);
      for (const name of CONTROLS) {
        const { state, basis, evidence } = controls[name];
        assert.ok(evidence.length > 0 && evidence.length <= 300, name);
        if (state === "enforced" && name !== "lsm")
          assert.equal(basis, bench.driver.supports.evidence[name], name);
        if (bench.driver.supports.evidence[name] === "none") assert.notEqual(state, "enforced", name);
      }
    },
  },
  {
    name: "output, error, exit code and standard input pass through, to the byte",
    check: async (bench) => {
      const stdin = Buffer.from([0, 255, 10, 13, 128]);
      const ran = await bench.run(SH("cat; echo oops >&2; exit 3"), { stdin });
      assert.equal(ran.execution.outcome, "exited");
      if (ran.execution.outcome !== "exited") return;
      assert.deepEqual(Buffer.from(ran.execution.stdout), stdin);
      assert.deepEqual([ran.stderr, ran.execution.exitCode], ["oops\n", 3]);
    },
  },
  {
    name: "/dev/stdout and /dev/stderr are opened by name",
    check: async (bench) => {
      const { stdout, stderr } = await bench.run(SH("echo out >/dev/stdout; echo err >/dev/stderr"));
      assert.deepEqual([stdout, stderr], ["out\n", "err\n"]);
    },
  },
  {
    name: "an argument keeps spaces, quotes, newlines and a leading dash",
    check: async (bench) => {
      const { stdout } = await bench.run(["printf", "%s|", "-n", "a b", "$(id)", "'\"\n", ""]);
      assert.equal(stdout, "-n|a b|$(id)|'\"\n||");
    },
  },
  {
    name: "the environment is the profile's and nothing else",
    check: async (bench) => {
      const profile = bench.profile({ environment: { GIVEN: "x y" } });
      const { stdout } = await bench.run(["env"], { profile });
      const names = stdout.split("\n").flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []);
      assert.deepEqual(
        names.filter((name) => !["PWD", "SHLVL", "_"].includes(name)).toSorted(),
        Object.keys(profile.environment).toSorted(),
      );
      assert.match(stdout, /^GIVEN=x y$/m);
    },
  },
  {
    name: "a program that is not there was never started; one that exits 127 was",
    check: async (bench) => {
      const { execution } = await bench.run(["no-such-program"]);
      assert.equal(execution.outcome === "unstarted" && execution.code, "ERR_COMMAND_START");
      const ran = await bench.run(SH("exit 127"));
      assert.equal(ran.execution.outcome === "exited" && ran.execution.exitCode, 127);
    },
  },
  {
    name: "a signal is named",
    check: async (bench) => {
      const { execution } = await bench.run(SH("kill -TERM $$"));
      assert.equal(execution.outcome === "exited" && execution.signal, "SIGTERM");
    },
  },
  {
    name: "it starts in the working directory, reads what is granted and writes none of it",
    check: async (bench) => {
      const { stdout } = await bench.run(
        SH("pwd; cat a.txt; echo x >a.txt || echo refused; echo y >b.txt || echo refused"),
      );
      assert.equal(stdout, `${bench.workspace}\nhello\nrefused\nrefused\n`);
      assert.equal(readFileSync(join(bench.workspace, "a.txt"), "utf8"), "hello\n");
    },
  },
  {
    name: "a granted path is written, on the host, and only that; scratch folders are gone afterwards",
    check: async (bench) => {
      makeFolder(bench, "out");
      const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [] } });
      const { stdout } = await bench.run(
        SH(
          "echo made >out/file; echo x >beside || echo refused; echo t >/tmp/t && echo h >$HOME/h && cat /tmp/t $HOME/h",
        ),
        { profile },
      );
      assert.equal(stdout, "refused\nt\nh\n");
      assert.equal(readFileSync(join(bench.workspace, "out/file"), "utf8"), "made\n");
      const { stdout: again } = await bench.run(SH("ls /tmp $HOME | grep -c '^[th]$'"), { profile });
      assert.equal(again, "0\n");
    },
  },
  {
    name: "a hidden file reads as empty, and its folder cannot be moved aside",
    check: async (bench) => {
      makeFolder(bench, "tree");
      makeFolder(bench, "tree/below");
      writeFileSync(join(bench.workspace, "tree/below/.env"), "SECRET=1\n");
      const profile = bench.profile({ files: { read: ["."], write: ["tree"], hide: ["tree/below/.env"] } });
      const { stdout } = await bench.run(
        SH("cat tree/below/.env; mv tree/below tree/aside 2>/dev/null && echo moved; cat tree/*/.env"),
        { profile },
      );
      assert.equal(stdout, "");
      assert.equal(readFileSync(join(bench.workspace, "tree/below/.env"), "utf8"), "SECRET=1\n");
    },
  },
  {
    name: "a protected file in a writable tree is read, and neither written, removed nor replaced",
    check: async (bench) => {
      makeFolder(bench, "tree");
      const path = join(bench.workspace, "tree/keep.yaml");
      writeFileSync(path, "kept\n");
      if (process.geteuid?.() === 0) chownSync(path, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
      const profile = bench.profile({
        files: { read: ["."], write: ["tree"], hide: [] },
        ownProtected: [path],
      });
      const { stdout } = await bench.run(
        SH(
          "cd tree; cat keep.yaml; echo x >new; for try in 'echo x >keep.yaml' 'rm -f keep.yaml' 'mv -f new keep.yaml'; do sh -c \"$try\" 2>/dev/null && echo \"$try\"; done; true",
        ),
        { profile },
      );
      assert.equal(stdout, "kept\n");
      assert.equal(readFileSync(path, "utf8"), "kept\n");
    },
  },
  {
    name: "a mount that comes undone while the sandbox waits is found at release",
    check: async (bench) => {
      const path = join(bench.workspace, ".env");
      writeFileSync(path, "SECRET=1\n");
      await using sandbox = await bench.driver.open(
        bench.profile({ files: { read: ["."], write: [], hide: [".env"] } }),
      );
      assert.equal((await sandbox.inspect()).mounts.state, "enforced");
      renameSync(path, `${path}.old`);
      assert.equal((await sandbox.inspect()).mounts.state, "unavailable");
    },
  },
  {
    name: "there is no network but its own loopback",
    check: async (bench) => {
      const { stdout } = await bench.run(SH("cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '"));
      assert.deepEqual(
        stdout.split("\n").filter((name) => name !== "" && name !== "lo"),
        [],
      );
    },
  },
  {
    name: "nothing outlives the call",
    check: async (bench) => {
      makeFolder(bench, "out");
      const profile = bench.profile({ files: { read: ["."], write: ["out"], hide: [] } });
      const script =
        "(sleep 2; echo late >out/late) >/dev/null 2>&1 & (trap '' HUP TERM; sleep 2; echo late >out/late) >/dev/null 2>&1 & echo done";
      const { stdout } = await bench.run(SH(script), { profile });
      assert.equal(stdout, "done\n");
      await new Promise((done) => setTimeout(done, 2_500));
      assert.ok(!existsSync(join(bench.workspace, "out/late")));
    },
  },
  ...limitCases(),
  {
    name: "cancelling ends the call, and says so",
    check: async (bench) => {
      const { execution } = await bench.run(SH("sleep 60"), { signal: AbortSignal.timeout(100) });
      assert.equal(execution.outcome === "killed" && execution.killedBy, "abort");
    },
  },
  {
    name: "a sandbox is used once, and the next is unaffected by one that failed",
    check: async (bench) => {
      await using sandbox = await bench.driver.open(bench.profile());
      await sandbox.release(UNCHECKED, { argv: ["true"] });
      await assert.rejects(sandbox.release(UNCHECKED, { argv: ["true"] }), { code: "ERR_INTERNAL" });
      assert.equal((await bench.run(["cat", "a.txt"])).stdout, "hello\n");
    },
  },
];

function limitCases(): readonly ConformanceCase[] {
  const cases: readonly [KilledBy, string, Partial<Limits>][] = [
    ["wall", "sleep 60", { wallMs: 300 }],
    ["output", "while :; do echo 0123456789012345678901234567890123456789; done", { outputBytes: 10_000 }],
    ["cpu", "while :; do :; done", { cpuMs: 300, wallMs: 20_000 }],
    ["memory", "x=0123456789abcdef; while :; do x=$x$x; done", { memoryBytes: 64 * MIB, wallMs: 20_000 }],
  ];
  return cases.map(([reason, script, limits]) => ({
    name: `the limit \`${reason}\` ends the call, is named, and the usage is told`,
    check: async (bench) => {
      const { execution } = await bench.run(SH(script), { profile: bench.profile({}, limits) });
      assert.equal(execution.outcome, "killed");
      if (execution.outcome !== "killed") return;
      assert.equal(execution.killedBy, reason);
      assert.ok(execution.usage.wallMs > 0);
      assert.ok(execution.denials.some(({ kind, what }) => kind === "limit" && what === reason));
    },
  }));
}

function makeFolder({ workspace }: AnyBench, name: string): void {
  const path = join(workspace, name);
  mkdirSync(path);
  if (process.geteuid?.() === 0) chownSync(path, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
}
