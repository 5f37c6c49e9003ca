import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { newCallId } from "../src/contract/ids.ts";
import type { CallResult } from "../src/contract/result.ts";
import type { Gate } from "../src/gate.ts";
import { addressInHosts, listen } from "../src/surfaces/cli/demo/confined.ts";
import type { Stage } from "../src/surfaces/cli/demo/stage.ts";
import {
  blocked,
  type CallStep,
  callStep,
  type Finding,
  ran,
  refused,
  stopped,
  type Verdict,
} from "../src/surfaces/cli/demo/step.ts";
import { type Summary, sumUp } from "../src/surfaces/cli/demo/summary.ts";

const CALLGATE = join(import.meta.dirname, "../bin/callgate.js");

/** Only a machine whose own name has an address has them, and the demo is right to leave them out elsewhere. */
async function namedSteps(): Promise<Record<string, readonly [verdict: Verdict, why?: string]>> {
  await using listener = await listen();
  if (listener.named === undefined) {
    console.error("SKIPPED: two steps of the demo, since /etc/hosts does not know this machine's name");
    return {};
  }
  return { "egress-named": ["ran", "exited 0"], "egress-unnamed": ["blocked", "exited 1"] };
}

/** What has to become of every step, and where a gate's own code says why, that code. */
const EXPECTED: Readonly<Record<string, readonly [verdict: Verdict, why?: string]>> = {
  "make-history": ["ran", "exited 0"],
  search: ["ran", "exited 0"],
  history: ["ran", "exited 0"],
  json: ["ran", "exited 0"],
  tests: ["ran", "exited 0"],
  write: ["ran", "exited 0"],
  "no-shell": ["ran", "exited 1"],
  "refused-by-schema": ["refused", "ERR_INPUT_SCHEMA"],
  "refused-path": ["refused", "ERR_PATH_OUTSIDE"],
  "refused-option": ["refused", "ERR_INPUT_OPTION_LIKE"],
  "refused-by-policy": ["refused", "ERR_FORBIDDEN"],
  "refused-without-approvals": ["refused", "ERR_OBLIGATION_UNMET"],
  "policy-tests": ["held"],
  "control-read": ["ran", "exited 0"],
  "secret-decoy": ["blocked", "exited 1"],
  "secret-home": ["blocked", "exited 2"],
  "secret-state": ["blocked", "exited 1"],
  "egress-internet": ["blocked", "exited 1"],
  "egress-metadata": ["blocked", "exited 1"],
  "egress-loopback": ["blocked", "exited 1"],
  ...(await namedSteps()),
  "write-system": ["blocked", "exited 1"],
  "write-workspace": ["blocked", "exited 1"],
  "write-hook": ["blocked", "exited 1"],
  "limit-wall": ["stopped", "killed wall"],
  "limit-output": ["stopped", "killed output"],
  "limit-memory": ["stopped", "killed memory"],
  "limit-processes": ["stopped", "killed processes"],
  "every-call-recorded": ["held"],
  "log-verified": ["verified"],
  "receipt-verified": ["verified"],
  "receipt-altered": ["found"],
  "copy-altered": ["found"],
};

/** Steps that an rlimit bounds where this host gives no cgroup: then the tool fails and is not stopped. */
const BY_CGROUP: ReadonlySet<string> = new Set(["limit-memory", "limit-processes"]);

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** What is left in the temporary folder that the demo had to itself. */
  readonly left: readonly string[];
}

/** Runs the demo with a temporary folder of its own, and looks at what it leaves there. */
async function runDemo(
  args: readonly string[],
  {
    environment = {},
    meanwhile = () => undefined,
  }: {
    readonly environment?: Readonly<Record<string, string>>;
    readonly meanwhile?: (child: ChildProcess, temporary: string) => void;
  } = {},
): Promise<Run> {
  const temporary = mkdtempSync(join(tmpdir(), "demo-test-"));
  chmodSync(temporary, 0o755);
  try {
    const child = spawn(process.execPath, [CALLGATE, "demo", ...args], {
      env: { ...process.env, TMPDIR: temporary, NODE_DISABLE_COMPILE_CACHE: "1", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [out, err]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (text: string) => out.push(text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => err.push(text));
    child.stdout.on("data", () => meanwhile(child, temporary));
    const code = await new Promise<number | null>((done) => child.once("close", done));
    return { code, stdout: out.join(""), stderr: err.join(""), left: readdirSync(temporary) };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function whyOf({ call }: Finding): string | undefined {
  return call === undefined
    ? undefined
    : (call.code ?? `${call.outcome} ${call.killedBy ?? String(call.exitCode)}`);
}

function assertExpected({ findings, ok, skipped, steps }: Summary): void {
  assert.deepEqual(
    findings.map(({ id }) => id),
    Object.keys(EXPECTED),
  );
  for (const finding of findings) {
    const [verdict, why] = EXPECTED[finding.id] ?? [];
    if (BY_CGROUP.has(finding.id) && finding.verdict === "blocked") continue;
    assert.deepEqual([finding.verdict, whyOf(finding)], [verdict, why], JSON.stringify(finding));
    assert.notEqual(finding.happened, "", finding.id);
  }
  assert.deepEqual({ ok, skipped, steps }, { ok: true, skipped: 0, steps: Object.keys(EXPECTED).length });
}

describe("callgate demo", () => {
  it("knows this machine by its hosts file alone", () => {
    const text = "127.0.0.1 localhost # vm\n::1 vm\n\n  10.0.0.7\tOther VM.local vm # here\n10.0.0.8 vm\n";
    assert.equal(addressInHosts("vm", text), "10.0.0.7");
    assert.equal(addressInHosts("other", text), "10.0.0.7");
    assert.equal(addressInHosts("local", text), undefined);
    assert.equal(addressInHosts("here", text), undefined);
  });

  it("greets by the name that its hosts file gives a loopback address, and ends whoever else holds the line", {
    timeout: 20_000,
  }, async (t) => {
    const host = hostname().toLowerCase();
    const address = addressInHosts(host, readFileSync("/etc/hosts", "utf8"));
    let stranger: Socket | undefined;
    {
      await using listener = await listen();
      const isPlain = /^[a-z][a-z0-9-]*$/.test(host) && host !== "localhost" && address?.startsWith("127.");
      if (isPlain) assert.equal(listener.named?.host, host);
      if (listener.named === undefined || address === undefined)
        return t.skip("SKIPPED: /etc/hosts does not know this machine's name");
      stranger = connect({ port: listener.named.port, host: address, allowHalfOpen: true });
      stranger.on("error", () => undefined);
      await once(stranger, "connect");
    }
    stranger.destroy();
  });

  it("goes as it should, step by step, and leaves nothing behind", async () => {
    const { code, stdout, stderr, left } = await runDemo(["--json"]);
    assert.equal(stderr, "");
    const summary = JSON.parse(stdout) as Summary;
    assertExpected(summary);
    assert.equal(summary.kept, null);
    assert.equal(code, 0);
    assert.deepEqual(left, []);
  });

  for (const HOME of ["/nonexistent/home", "/proc"]) {
    it(`asks nothing of a home folder such as ${HOME}, and touches no state of the user's`, async () => {
      const elsewhere = { XDG_STATE_HOME: "/proc/nowhere", CALLGATE_STATE: "/proc/nowhere" };
      const { code, stderr, left } = await runDemo(["--quiet"], { environment: { HOME, ...elsewhere } });
      assert.deepEqual({ code, stderr, left }, { code: 0, stderr: "", left: [] });
    });
  }

  it("prints one plain line a step when it is piped, with the reason", async () => {
    const { code, stdout, stderr, left } = await runDemo([], {
      environment: { FORCE_COLOR: "0", NO_COLOR: "1" },
    });
    assert.equal(code, 0, stdout + stderr);
    assert.equal(stderr, "");
    assert.doesNotMatch(stdout, /[\u0000-\u0009\u000b-\u001f]/);
    for (const heading of ["Judged", "Confined", "Proven"])
      assert.match(stdout, new RegExp(`^${heading}  `, "m"));
    assert.match(
      stdout,
      /^ {2}✗ refused .+ms {2}file\.write +deploy\/deploy\.js +what deploys changes by review, never by a tool$/m,
    );
    assert.equal(stdout.match(/^ {2}[✓✗] \w+ .+ms {2}\S/gm)?.length, Object.keys(EXPECTED).length);
    const steps = Object.keys(EXPECTED).length;
    assert.match(
      stdout,
      new RegExp(`^✓ ${steps} of ${steps} went as they should, in .+ s; nothing is left behind$`, "m"),
    );
    assert.deepEqual(left, []);
  });

  it("takes everything away when it is stopped", async () => {
    const { code, stdout, left } = await runDemo([], {
      meanwhile: (child, temporary) => {
        // Under way: the copy is there. The first line of a finding came.
        if (readdirSync(temporary).length > 0) child.kill("SIGINT");
      },
    });
    assert.equal(code, 130);
    assert.match(stdout, /stopped; nothing is left behind\n$/);
    assert.deepEqual(left, []);
  });

  it("stays where it is told to, and its record can be verified there", async () => {
    const parent = mkdtempSync(join(tmpdir(), "demo-kept-"));
    chmodSync(parent, 0o755);
    try {
      const folder = join(parent, "look");
      const { code, stdout } = await runDemo(["--json", "--keep", folder]);
      assert.equal(code, 0);
      assert.deepEqual((JSON.parse(stdout) as Summary).kept, {
        workspace: join(folder, "ferry"),
        state: join(folder, "state"),
      });
      for (const path of ["ferry/.git/HEAD", "ferry/notes/today.md", "state/log.pub", "receipt.json"]) {
        assert.ok(existsSync(join(folder, path)), path);
      }
      const again = await runDemo(["--keep", folder]);
      assert.equal(again.code, 64);
      assert.match(again.stderr, /is there already/);
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
  });
});

describe("a step of the demo", () => {
  const permitted: CallResult = {
    call: newCallId(),
    tool: "file.write",
    digest: null,
    outcome: "exited",
    exitCode: 0,
    signal: null,
    killedBy: null,
    stdout: "a secret",
    stderr: "",
    encoding: "utf8",
    stdoutBytes: 8,
    stderrBytes: 0,
    truncated: { stdout: false, stderr: false },
    decision: { effect: "permit", policies: ["any"], reasons: ["any"] },
    isolation: "process",
    driver: "bubblewrap",
    controls: null,
    denials: [],
    usage: null,
    changes: null,
    approval: null,
    receipt: null,
    error: null,
  };
  const unstarted: CallResult = {
    ...permitted,
    outcome: "unstarted",
    exitCode: null,
    stdout: "",
    error: { code: "ERR_COMMAND_START", message: "`rg` was not found inside the sandbox" },
  };

  /** What the demo makes of a step whose call came out like this. */
  async function verdictOf(
    result: CallResult,
    expect: CallStep["expect"],
    needs?: string,
    needsForNetwork?: string,
  ): Promise<Finding> {
    const gate = { call: async () => result } as unknown as Gate;
    const request = { tool: result.tool, input: {} };
    const step = {
      id: "a-step",
      asked: "",
      request,
      expect,
      ...(needs && { needs }),
      ...(needsForNetwork && { needsForNetwork }),
    };
    return (await callStep(gate, step, new AbortController().signal)).finding;
  }

  it("is wrong when what should be refused, blocked or stopped is not", async () => {
    for (const expect of [refused("ERR_FORBIDDEN"), blocked(/No such file/), stopped("wall")]) {
      const finding = await verdictOf(permitted, expect);
      assert.equal(finding.verdict, "wrong");
      assert.equal(sumUp([finding], 1, { kept: false } as Stage).ok, false);
    }
  });

  it("is wrong when it is refused for another reason, or by another policy", async () => {
    const forbidden: CallResult = {
      ...unstarted,
      outcome: "forbidden",
      error: { code: "ERR_FORBIDDEN", message: "no" },
    };
    assert.equal((await verdictOf(forbidden, refused("ERR_FORBIDDEN"))).verdict, "refused");
    assert.equal((await verdictOf(forbidden, refused("ERR_CAPABILITY"))).verdict, "wrong");
    assert.equal((await verdictOf(forbidden, refused("ERR_FORBIDDEN", ["other"]))).verdict, "wrong");
  });

  it("is wrong when a command fails and said something all the same", async () => {
    const leaked: CallResult = { ...permitted, exitCode: 1, stderr: "cat: x: No such file or directory\n" };
    assert.equal((await verdictOf(leaked, blocked(/No such file/))).verdict, "wrong");
    assert.equal((await verdictOf({ ...leaked, stdout: "" }, blocked(/No such file/))).verdict, "blocked");
  });

  it("is skipped where its program is missing, and only then", async () => {
    const expect = ran(() => "fine");
    assert.equal((await verdictOf(unstarted, expect, "install ripgrep")).verdict, "skipped");
    assert.equal((await verdictOf(unstarted, expect)).verdict, "wrong");
    assert.equal((await verdictOf(permitted, expect, "install ripgrep")).verdict, "ran");
    const error = { code: "ERR_CONTROL_UNAVAILABLE", message: "no network" };
    const networkless: CallResult = { ...unstarted, error };
    assert.equal((await verdictOf(networkless, expect, undefined, "install gcc")).verdict, "skipped");
    assert.equal((await verdictOf(networkless, expect, "install ripgrep")).verdict, "wrong");
    assert.equal((await verdictOf(permitted, expect, undefined, "install gcc")).verdict, "ran");
  });
});
