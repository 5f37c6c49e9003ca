import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Desk, ended, until } from "./cli.fixture.ts";

interface Checked {
  readonly decision: { readonly effect: string; readonly policies: readonly string[] };
  readonly needs: { readonly isolation: string; readonly controls: readonly string[] };
  readonly host: { readonly driver: string | null; readonly usable: boolean };
  readonly nearest: readonly { readonly id: string; readonly failed: readonly { readonly text: string }[] }[];
  readonly hindrance?: { readonly code: string; readonly message: string };
}

function checkedOf(json: unknown): Checked {
  return json as Checked;
}

describe("check", { concurrency: 4 }, () => {
  it("permits, names the policy and its place, and leaves nothing behind", async (test) => {
    const desk = new Desk(test);
    const { out } = await desk.expect(0, "check", "callgate.exec", "--arg", 'command=["touch","a"]');
    assert.match(out, /✓ permit {2}callgate\.exec/);
    assert.match(out, /policy {2}builtin-local-exec, builtin\.cedar:\d+:1\n.*@id/);
    assert.match(out, /host .*process isolation by bubblewrap/);
    assert.deepEqual(readdirSync(desk.project), []);
    assert.ok(!existsSync(desk.state), "a check is not recorded");
  });

  it("forbids with the nearest permit, the part that fails and the field", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const args = ["check", "note.write", "--arg", "path=src/a.md", "--arg", "text=a"];
    const { out } = await desk.expect(77, ...args);
    assert.match(out, /near .*notes-in-their-folder, policies\/project\.cedar:14:1/);
    assert.match(out, /failed {2}context\.input\.path like "notes\/\*"/);
    assert.match(out, /context\.input\.path is "src\/a\.md"/);
    const checked = checkedOf((await desk.json(77, ...args)).json);
    assert.equal(checked.decision.effect, "forbid");
    assert.equal(checked.nearest[0]?.id, "notes-in-their-folder");
    assert.equal(checked.needs.isolation, "process");
    assert.ok(checked.needs.controls.includes("seccomp"));
    assert.deepEqual([checked.host.driver, checked.host.usable], ["bubblewrap", true]);
  });

  it("asks with 75 where people have to approve, and says that the gate cannot ask them", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    const policy =
      '@id("asked")\n@require_approvals("2")\npermit (principal, action == Action::"note.write", resource)\nwhen { context.input.path like "asked/*" };\n';
    desk.write("policies/asked.cedar", policy);
    await desk.expect(0, "trust", "--yes");
    const args = ["check", "note.write", "--arg", "path=asked/a", "--arg", "text=a"];
    const { out } = await desk.expect(75, ...args);
    assert.match(out, /! ask/);
    assert.match(out, /2 different people must approve it/);
    assert.equal(checkedOf((await desk.json(75, ...args)).json).hindrance?.code, "ERR_OBLIGATION_UNMET");
  });

  it("refuses an input that does not fit with 65 and the field", async (test) => {
    const desk = new Desk(test);
    await desk.expect(0, "init");
    for (const [args, said] of [
      [["--arg", "patern=a"], /`pattern`|`patern`|\/patern/],
      [["--input", '{"pattern":"a","pattern":"b"}'], /twice|duplicate|repeat/],
      [["--input", "{"], /JSON/],
      [["--arg", "pattern=a", "--arg", "path=../.."], /leaves the workspace/],
    ] as const) {
      const { err } = await desk.expect(65, "check", "repo.search", ...args);
      assert.match(err, said);
    }
    await desk.expect(64, "check", "repo.serch", "--arg", "pattern=a");
    await desk.expect(64, "check", "repo.search", "--input", "{}", "--arg", "pattern=a");
  });

  it("says what would keep a permitted call from running", async (test) => {
    const desk = new Desk(test);
    const isolation = ["check", "callgate.exec", "--input", '{"command":["ls"],"isolation":"microvm"}'];
    const { json } = await desk.json(0, ...isolation);
    assert.deepEqual([checkedOf(json).host.driver, checkedOf(json).host.usable], [null, false]);
    const grant = ["check", "callgate.exec", "--input", '{"command":["ls"],"files":{"read":["nowhere"]}}'];
    assert.match(checkedOf((await desk.json(0, ...grant)).json).hindrance?.message ?? "", /does not exist/);
  });
});

describe("doctor", { concurrency: 4 }, () => {
  it("reads every control from a sandbox, and needs no state folder", async (test) => {
    const desk = new Desk(test);
    const { json } = await desk.json(0, "doctor");
    const findings = json["findings"] as unknown as { group: string; name: string; state: string }[];
    const stateOf = (group: string, name: string): string | undefined =>
      findings.find((finding) => finding.group === group && finding.name === name)?.state;
    assert.equal(json["usable"], true);
    assert.equal(stateOf("tiers", "low"), "ok");
    assert.equal(stateOf("tiers", "critical"), "later");
    assert.equal(stateOf("drivers", "bubblewrap"), "ok");
    assert.equal(stateOf("folder", "here"), "ok");
    for (const name of ["seccomp", "capabilities", "network", "user", "mounts", "memory"]) {
      assert.notEqual(stateOf("controls", name), undefined, name);
    }
    for (const name of ["rg", "git", "jq"]) assert.notEqual(stateOf("programs", name), undefined);
    assert.ok(!existsSync(desk.state));
    assert.match((await desk.expect(0, "doctor")).out, /^controls +✓ .*\bseccomp\b/m);
  });

  it("ends with 69 and the command that mends it where the state folder is open to others", async (test) => {
    const desk = new Desk(test);
    mkdirSync(desk.state);
    chmodSync(desk.state, 0o755);
    const { out } = await desk.expect(69, "doctor");
    assert.match(out, /^type this\n {2}chmod go= .*\n.*read or written by others\n[\s\S]*✗ folder /m);
    chmodSync(desk.state, 0o700);
    await desk.expect(0, "doctor");
  });

  it("finds a state folder inside of the workspace", async (test) => {
    const desk = new Desk(test);
    const { code, out } = await desk.run(["doctor"], { state: join(desk.project, "state") });
    assert.equal(code, 69);
    assert.match(out, /✗ folder .*is inside the workspace/);
  });

  it("finds a folder that the sandbox's user cannot enter", {
    skip: process.geteuid?.() !== 0,
  }, async (test) => {
    const desk = new Desk(test);
    chmodSync(desk.project, 0o000);
    assert.match((await desk.expect(0, "doctor")).out, /^type this\n {2}chmod u\+rx [\s\S]*✗ here /m);
  });
});

describe("processes", { concurrency: 2 }, () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`record a call that ${signal} ends, and leave nothing of it running`, async (test) => {
      const desk = new Desk(test);
      const mark = `${process.pid}${signal.length}${Date.now()}`;
      const child = desk.start(["exec", "--", "sh", "-c", `echo ready; sleep 300 & exec sleep ${mark}`]);
      const end = ended(child);
      await until(child, "ready");
      child.kill(signal);
      assert.equal((await end).code, 128 + constants.signals[signal]);
      assert.deepEqual(processesWith(mark), []);
      const { json } = await desk.json(0, "log", "show", "--call", "last");
      const entries = json["entries"] as unknown as {
        entry: { kind: string; outcome?: string; killedBy?: string };
      }[];
      const { kind, outcome, killedBy } = entries.at(-1)?.entry ?? {};
      assert.deepEqual([kind, outcome, killedBy], ["outcome", "killed", "abort"]);
      assert.match((await desk.expect(0, "why")).out, /✗ stopped {2}callgate\.exec\n.*killed by abort/);
    });
  }

  it("tell of a call whose gate was killed", async (test) => {
    const desk = new Desk(test);
    const child = desk.start(["exec", "--", "sh", "-c", "echo ready; exec sleep 300"]);
    const end = ended(child);
    await until(child, "ready");
    const running = await desk.json(0, "why");
    assert.equal(running.json["outcome"], "running");
    assert.match((await desk.expect(65, "log", "receipt", "last")).err, /has not ended/);
    child.kill("SIGKILL");
    await end;
    await desk.expect(0, "exec", "--", "true");
    const call = String(running.json["call"]);
    const { json } = await desk.json(0, "why", call);
    assert.equal(json["outcome"], "recovered");
    assert.match((await desk.expect(0, "log", "verify")).out, /✓ verified/);
  });

  it("share one state folder, all at once, from the very first call on", async (test) => {
    const desk = new Desk(test);
    const words = ["a", "b", "c", "d"];
    const said = await Promise.all(words.map((word) => desk.run(["exec", "--json", "--", "echo", word])));
    const calls = said.map(({ code, out, err }, index) => {
      assert.equal(code, 0, err);
      const result = JSON.parse(out) as { call: string; stdout: string };
      assert.equal(result.stdout, `${words[index]}\n`);
      return result.call;
    });
    assert.equal(new Set(calls).size, words.length);
    assert.equal((await desk.json(0, "log", "verify")).json["verified"], true);
    for (const call of calls) {
      const { json } = await desk.json(0, "log", "show", "--call", call);
      const kinds = (json["entries"] as unknown as { entry: { kind: string } }[]).map(
        ({ entry }) => entry.kind,
      );
      assert.deepEqual(kinds, ["intent", "opened", "outcome"]);
    }
  });
});

/** Processes of this machine whose command line holds `mark`, inside of sandboxes too. */
function processesWith(mark: string): readonly string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(mark);
    } catch {
      return false; // it has just ended
    }
  });
}
