import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, constants, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { GateError } from "../contract/errors.ts";
import { within } from "./deadline.ts";
import { errnoName } from "./dialogue.ts";
import { isAlive } from "./procfs.ts";
import type { Started, Starter, StartSpec } from "./starter.ts";

/** How long the starter may take over one start before it counts as broken. */
const START_MS_MAX = 5_000;
/** How long it may take to end once its channel is closed. */
const CLOSE_MS_MAX = 2_000;
/** Nobody else who reaches the socket can guess one. */
const ID_BYTES = 16;
const ID_LINE_BYTES_MAX = 64;

/** What is known of one start while it is under way. */
interface Pending {
  readonly started: PromiseWithResolvers<number>;
  readonly channel: PromiseWithResolvers<Socket>;
  readonly exited: PromiseWithResolvers<number | null>;
  /** The process that it is a child of. */
  readonly by: Running;
  alive: boolean;
  /** Handed to whoever asked: one that ends before that is still told of. */
  handed: boolean;
}

/** Starts processes through one small process of ours, which they are children of. */
export class NativeStarter implements Starter {
  readonly #program: string;
  readonly #folder: string;
  readonly #pending = new Map<string, Pending>();
  #running: Promise<Running> | undefined;
  /** What `#running` gave last. */
  #current: Running | undefined;

  constructor(program: string, folder: string) {
    this.#program = program;
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    removeOrphans(folder);
  }

  async start({ argv, files, channel, aside }: StartSpec): Promise<Started> {
    this.#running ??= this.#run().catch((error) => {
      this.#running = undefined; // what was in the way may be gone next time
      throw error;
    });
    const running = await this.#running;
    this.#current = running;
    const id = randomBytes(ID_BYTES).toString("hex");
    const pending: Pending = {
      started: Promise.withResolvers(),
      channel: Promise.withResolvers(),
      exited: Promise.withResolvers(),
      by: running,
      alive: true,
      handed: false,
    };
    pending.channel.promise.catch(() => {}); // said by `started`
    this.#pending.set(id, pending);
    running.hold(true);
    const opening = [...files].map(([fd, { path, access }]) => `${fd}${access}${path}`);
    running.ask([id, ...opening, `${channel}s${SOCKET}`, `${aside}=${channel}`, "!", ...argv]);
    const late = setTimeout(() => {
      this.#fail(pending, "the starter does not answer");
      running.abandon();
      if (this.#current === running) this.#running = undefined;
    }, START_MS_MAX);
    try {
      const pid = await pending.started.promise;
      const socket = await pending.channel.promise;
      pending.handed = true;
      if (!pending.alive) this.#forget(id);
      return {
        pid,
        channel: socket,
        voices: [socket],
        exited: pending.exited.promise,
        isAlive: () => pending.alive,
        kill: () => {
          if (pending.alive) running.ask([id, "kill"]);
        },
      };
    } catch (error) {
      this.#forget(id);
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = await this.#running?.catch(() => undefined);
    await running?.close();
  }

  async #run(): Promise<Running> {
    const folder = join(this.#folder, `${PREFIX}${process.pid}-${process.hrtime.bigint()}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const server = await listen(folder, (socket) => this.#arrived(socket));
    const stdio: (number | "pipe" | "ignore")[] = ["ignore", "ignore", "ignore", "pipe"];
    const child = spawn(this.#program, [], { stdio, env: {}, cwd: folder, detached: true });
    const channel = child.stdio[3] as Duplex;
    let text = "";
    channel.on("error", () => {});
    channel.on("data", (chunk: Buffer) => {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) this.#answered(line);
    });
    const ended = new Promise<void>((done) => {
      child.on("error", () => done());
      child.on("exit", () => done());
    });
    const tidy = async (): Promise<void> => {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    };
    child.unref();
    const running: Running = {
      hold: (held) => void (held ? (channel as Socket).ref() : (channel as Socket).unref()),
      ask: (words) => void channel.write([...words.map((word) => `${word}\0`), "\0"].join("")),
      abandon: () => void child.kill("SIGKILL"),
      close: async () => {
        child.ref();
        channel.end();
        await within(CLOSE_MS_MAX, ended);
        child.kill("SIGKILL");
        await ended;
        await tidy();
      },
    };
    void ended.then(async () => {
      this.#lost(running);
      await tidy();
    });
    return running;
  }

  /** A started process is known by the first line it is given to say. */
  #arrived(socket: Socket): void {
    let text = Buffer.alloc(0);
    socket.on("error", () => {}); // it died; its exit says so
    const onData = (chunk: Buffer): void => {
      text = Buffer.concat([text, chunk]);
      const end = text.indexOf("\n");
      if (end < 0 && text.length < ID_LINE_BYTES_MAX) return;
      socket.off("data", onData);
      socket.pause();
      const pending = this.#pending.get(/^I ([0-9a-f]+)$/.exec(text.toString("latin1", 0, end))?.[1] ?? "");
      if (pending === undefined) return void socket.destroy();
      if (end + 1 < text.length) socket.unshift(text.subarray(end + 1));
      pending.channel.resolve(socket);
    };
    socket.on("data", onData);
  }

  #answered(line: string): void {
    const [kind, id = "", number, ...words] = line.split(" ");
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    if (kind === "S") pending.started.resolve(Number(number));
    if (kind === "F")
      this.#fail(pending, `${words.join(" ").replace(/^\d+[rws=]/, "")}: ${errnoName(Number(number))}`);
    if (kind === "E") {
      pending.alive = false;
      pending.exited.resolve(Number(number));
      if (pending.handed) this.#forget(id);
    }
  }

  /** With nothing under way it does not keep this process from ending. */
  #forget(id: string): void {
    this.#pending.delete(id);
    if (this.#pending.size === 0) void this.#running?.then((running) => running.hold(false));
  }

  #fail(pending: Pending, why: string): void {
    const error = new GateError("ERR_SANDBOX_START", `the sandbox could not be started: ${why}`, {
      remedy: "run `callgate doctor`",
    });
    pending.alive = false;
    pending.started.reject(error);
    pending.channel.reject(error);
    pending.exited.resolve(null);
  }

  /** The starter ended, and what it had started was killed with it. The next start has a new one. */
  #lost(running: Running): void {
    const mine = [...this.#pending].filter(([, pending]) => pending.by === running);
    for (const [id, pending] of mine) {
      this.#fail(pending, "the starter ended");
      this.#pending.delete(id);
    }
    if (this.#current === running) this.#running = undefined;
  }
}

interface Running {
  /** Whether it keeps this process from ending. */
  hold(held: boolean): void;
  ask(words: readonly string[]): void;
  /** It does not do its work: it and all that it started end, and the next start has a new one. */
  abandon(): void;
  close(): Promise<void>;
}

const SOCKET = "s";
const PREFIX = "starter-";

/** unix(7): a socket's path, with the byte that ends it. */
const SOCKET_PATH_BYTES_MAX = 107;

/**
 * By its own path where that is short enough, so that every gateway knows it for a socket of the host; else by way of
 * the folder's descriptor.
 */
async function listen(
  folder: string,
  onSocket: (socket: Socket) => void,
): Promise<{ close(): Promise<void> }> {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  const server: Server = createServer(onSocket);
  await new Promise<void>((done, fail) => {
    server.once("error", fail);
    const path = join(folder, SOCKET);
    server.listen(
      Buffer.byteLength(path) <= SOCKET_PATH_BYTES_MAX ? path : `/proc/self/fd/${fd}/${SOCKET}`,
      done,
    );
  });
  server.unref();
  let isOpen = true;
  return {
    close: async () => {
      if (!isOpen) return;
      isOpen = false;
      server.ref();
      await new Promise<void>((done) => server.close(() => done()));
      closeSync(fd);
    },
  };
}

function removeOrphans(folder: string): void {
  for (const name of readdirSync(folder)) {
    const owner = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (owner > 0 && !isAlive(owner)) rmSync(join(folder, name), { recursive: true, force: true });
  }
}
