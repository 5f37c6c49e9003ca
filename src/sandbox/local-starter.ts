import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { constants as os } from "node:os";
import type { Duplex, Readable } from "node:stream";
import { strayDescriptors } from "./procfs.ts";
import type { Started, Starter, StartSpec } from "./starter.ts";

/** Starts processes as children of this one. */
export class LocalStarter implements Starter {
  readonly #stray: readonly number[] = strayDescriptors();

  async start({ argv, files, channel, aside }: StartSpec): Promise<Started> {
    const opened: number[] = [];
    const open = (path: string, flags: number): number => {
      const fd = openSync(path, flags);
      opened.push(fd);
      return fd;
    };
    const stdio: (number | "pipe" | "ignore")[] = [];
    try {
      for (const [fd, { path, access }] of files)
        stdio[fd] = open(path, access === "r" ? constants.O_RDONLY : constants.O_WRONLY);
      stdio[channel] = "pipe";
      stdio[aside] = "pipe";
      cover(stdio, this.#stray, () => open("/dev/null", constants.O_RDONLY));
      const [program = "", ...words] = argv;
      return startedChild(spawn(program, words, { stdio, env: {}, cwd: "/" }), channel, aside);
    } finally {
      for (const fd of opened) closeSync(fd);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function startedChild(child: ChildProcess, channel: number, aside: number): Promise<Started> {
  const exited = new Promise<number | null>((done) => {
    child.on("error", () => done(null));
    child.on("exit", (code, signal) => done(signal === null ? code : 128 + os.signals[signal]));
  });
  const voices = [child.stdio[channel] as Duplex, child.stdio[aside] as Readable] as const;
  for (const voice of voices) voice.on("error", () => {}); // it died; its exit says so
  return {
    pid: child.pid ?? 0,
    channel: voices[0],
    voices,
    exited,
    isAlive: () => child.exitCode === null && child.signalCode === null && child.pid !== undefined,
    kill: () => void child.kill("SIGKILL"),
  };
}

/** Lays `/dev/null` over the descriptors that a child would otherwise inherit from this process. */
function cover(
  stdio: (number | "pipe" | "ignore")[],
  stray: readonly number[],
  openNothing: () => number,
): void {
  const exposed = stray.filter((fd) => stdio[fd] === undefined);
  if (exposed.length > 0) {
    const nothing = openNothing();
    for (const fd of exposed) stdio[fd] = nothing;
  }
  for (let fd = 0; fd < stdio.length; fd += 1) stdio[fd] ??= "ignore";
}
