import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestContext } from "node:test";
import type { JsonObject } from "../../contract/json.ts";

export interface Said {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

export interface SaidJson extends Said {
  readonly json: JsonObject;
}

interface RunOptions {
  readonly input?: string;
  readonly cwd?: string;
  readonly state?: string;
}

/** A folder to work in, a state folder beside it, and the command line run for real in the one with the other. */
export class Desk {
  readonly base: string;
  readonly project: string;
  readonly state: string;

  /** `project` is as a person's folder is, also for a sandbox whose user is not the gate's. */
  constructor(test: TestContext) {
    this.base = mkdtempSync(join(tmpdir(), "callgate-cli-"));
    this.project = join(this.base, "project");
    this.state = join(this.base, "state");
    mkdirSync(this.project);
    for (const path of [this.base, this.project]) chmodSync(path, 0o755);
    test.after(() => rmSync(this.base, { recursive: true, force: true }));
  }

  write(path: string, text: string): void {
    const whole = join(this.project, path);
    mkdirSync(dirname(whole), { recursive: true });
    writeFileSync(whole, text);
  }

  /** Starts `callgate ARGS…` from source, whether or not there is a build. */
  start(args: readonly string[], { cwd = this.project, state = this.state }: RunOptions = {}): ChildProcess {
    const main = new URL("./main.ts", import.meta.url).href;
    const code = `process.removeAllListeners("warning"); const { main } = await import(${JSON.stringify(main)}); process.exitCode = await main(process.argv.slice(1));`;
    return spawn(process.execPath, ["--input-type=module", "-e", code, "--", "--state", state, ...args], {
      cwd,
      env: {
        PATH: process.env["PATH"],
        HOME: join(this.base, "home"),
        NODE_COMPILE_CACHE: join(tmpdir(), "callgate-cli-compile-cache"),
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<Said> {
    const child = this.start(args, options);
    child.stdin?.on("error", () => undefined); // it may have ended without reading
    child.stdin?.end(options.input ?? "");
    return await ended(child);
  }

  /** Runs it and expects this exit code. */
  async expect(code: number, ...args: readonly string[]): Promise<Said> {
    const said = await this.run(args);
    assert.equal(said.code, code, `callgate ${args.join(" ")}\n${said.out}\n${said.err}`);
    return said;
  }

  /** Runs it with `--json` and expects this exit code and one JSON value, and that nothing else was said. */
  async json(code: number, ...args: readonly string[]): Promise<SaidJson> {
    const end = args.indexOf("--");
    const at = end < 0 ? args.length : end;
    const said = await this.expect(code, ...args.slice(0, at), "--json", ...args.slice(at));
    return { ...said, json: JSON.parse(said.out) as JsonObject };
  }
}

export async function ended(child: ChildProcess): Promise<Said> {
  const chunks = { out: [] as Buffer[], err: [] as Buffer[] };
  child.stdout?.on("data", (chunk: Buffer) => chunks.out.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => chunks.err.push(chunk));
  return await new Promise((done) => {
    child.on("close", (code, signal) =>
      done({
        code,
        signal,
        out: Buffer.concat(chunks.out).toString("utf8"),
        err: Buffer.concat(chunks.err).toString("utf8"),
      }),
    );
  });
}

/** Waits until a child has written `text` to its standard output. */
export async function until(child: ChildProcess, text: string): Promise<void> {
  let seen = "";
  await new Promise<void>((done, fail) => {
    child.stdout?.on("data", (chunk: Buffer) => {
      seen += chunk.toString("utf8");
      if (seen.includes(text)) done();
    });
    child.once("close", () => fail(new Error(`it ended before it said \`${text}\`: ${seen}`)));
  });
}
