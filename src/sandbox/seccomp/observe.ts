import { isUtf8 } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { posix } from "node:path";
import { createInterface } from "node:readline";
import { GateError } from "../../contract/errors.ts";
import type { FileAccess, ObservedFile, ObservedFiles } from "../../contract/execution.ts";
import { within } from "../deadline.ts";
import type { HostUser } from "../user.ts";
import { type Explanation, stageFailure } from "./notify.ts";
import { PERL, stagedRequest } from "./notify-stage.ts";
import { observeProgram } from "./observe-program.ts";
import { ACCESS_LETTERS, OBSERVER, observerWords } from "./observe-supervisor.ts";
import type { SeccompArch } from "./profile.ts";

/** How long the observer may take to be there, and at the end to tell what it kept. */
const START_MS_MAX = 5_000;
const END_MS_MAX = 10_000;

const ACCESSES: ReadonlyMap<string, FileAccess> = new Map(
  Object.entries(ACCESS_LETTERS).map(([access, letter]) => [letter, access as FileAccess]),
);

/** @throws GateError where a run cannot be observed. */
export function requireObservable(alsoExplains: boolean): void {
  if (alsoExplains) {
    throw new GateError("ERR_USAGE", "one run cannot both observe files and explain refused system calls", {
      remedy: "run it twice, once with each: a process has one supervisor (seccomp_unotify(2))",
    });
  }
  if (existsSync(PERL)) return;
  throw new GateError("ERR_CONTROL_UNAVAILABLE", "observing files needs perl, which is not here", {
    remedy: "apt-get install perl-base, or run it without `--observe`",
  });
}

/**
 * Starts the observer of a waiting launcher that has the default program loaded, as in any other run.
 * @param pid the launcher's, on the host
 * @throws GateError `ERR_SANDBOX_START` when it cannot watch.
 */
export async function observeFiles(pid: number, user: HostUser, arch: SeccompArch): Promise<Explanation> {
  const child = spawn(PERL, ["-e", OBSERVER, "--", ...observerWords(arch, pid)], {
    stdio: ["pipe", "pipe", "ignore"],
    env: {},
    cwd: "/",
    ...(process.geteuid?.() === 0 ? user : {}),
  });
  const observer = follow(child);
  if ((await within(START_MS_MAX, observer.ready)) !== true) {
    child.kill("SIGKILL");
    throw new GateError("ERR_SANDBOX_START", "the observer of the tool's files did not start", {
      remedy: "run it without `--observe`",
    });
  }
  const stage = { program: observeProgram(arch), waitsIn: "stat" } as const;
  return {
    request: (environment, argv) => stagedRequest(arch, stage, environment, argv),
    denials: () => [],
    startFailure: (exitCode) => (observer.hasMet() ? undefined : stageFailure(exitCode)),
    observed: () => observer.observed(),
    close: () => void child.kill("SIGKILL"),
  };
}

interface Observer {
  /** True when it is there, false when it ended. */
  readonly ready: Promise<boolean>;
  /** Whether the stage has asked: the tool comes after that. */
  hasMet(): boolean;
  observed(): Promise<ObservedFiles>;
}

function follow(child: ChildProcess): Observer {
  const { stdin, stdout } = child;
  stdin?.on("error", () => {}); // it ended, which its output tells
  const collected = new Collected();
  let met = false;
  let over: Promise<void> = Promise.resolve();
  const ready = new Promise<boolean>((done) => {
    child.on("error", () => done(false));
    child.on("exit", () => done(false));
    if (stdout === null) return done(false);
    const lines = createInterface({ input: stdout });
    over = new Promise((ended) => lines.on("close", ended));
    lines.on("line", (line) => {
      if (line === "ready") done(true);
      else if (line === "met") met = true;
      else collected.add(line);
    });
  });
  return {
    ready,
    hasMet: () => met,
    observed: async () => {
      stdin?.end();
      await within(END_MS_MAX, over);
      return collected.result();
    },
  };
}

/** What an observer tells at its end, line by line. */
export class Collected {
  readonly #files = new Map<string, ObservedFile>();
  #end: { readonly further: number; readonly unread: number } | undefined;

  add(line: string): void {
    const [first = "", second = "", third = ""] = line.split(" ");
    if (first === "end") {
      this.#end = { further: Number(second), unread: Number(third) };
      return;
    }
    const access = ACCESSES.get(first);
    if (access === undefined) return;
    const file = pathOf(Buffer.from(third, "hex"));
    const key = `${access} ${file.malformed === true} ${file.path}`;
    const times = (this.#files.get(key)?.times ?? 0) + Number(second);
    this.#files.set(key, { ...file, access, times });
  }

  result(): ObservedFiles {
    const files = [...this.#files.values()].toSorted(
      (a, b) => compare(a.path, b.path) || compare(a.access, b.access),
    );
    const { further, unread } = this.#end ?? { further: 0, unread: 0 };
    return { files, further, unread, complete: this.#end !== undefined };
  }
}

/** Its `.`, `..` and doubled slashes worked out as text: where a folder on the way is a link, that is not followed. */
function pathOf(bytes: Buffer): Pick<ObservedFile, "path" | "malformed"> {
  const isText = isUtf8(bytes);
  const text = isText
    ? bytes.toString("utf8")
    : bytes.toString("latin1").replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
  const normal = posix.normalize(text);
  const path = normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
  return isText ? { path } : { path, malformed: true };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
