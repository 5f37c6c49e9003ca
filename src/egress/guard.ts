import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import type { Socket as DatagramSocket } from "node:dgram";
import { Server, type Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { GateError } from "../contract/errors.ts";

/** The block that stands for names inside of every sandbox: kept for tests of network devices (RFC 2544), never routed. */
export const INSIDE_BLOCK = "198.18.0.0/15";
/** Of the resolver, in every sandbox. */
export const RESOLVER_ADDRESS = "198.18.0.1";
const DNS_PORT = 53;
/** How long a namespace may take: what is slower is refused, and ended. */
const MAKE_MS_MAX = 5_000;
/** Nobody else on the channel can guess one. */
const ID_BYTES = 16;

/** Where a listener stands inside: IPv4 as text. */
export interface Listening {
  readonly address: string;
  readonly port: number;
}

/**
 * A network namespace with nothing but `lo`, in which every address of `INSIDE_BLOCK` is local, and the sockets that
 * the gate has in it. Closing it closes them; it is gone when no process is in it either.
 */
export interface GuardedNamespace extends AsyncDisposable {
  /** Paths for setns(2), valid until it is closed. */
  readonly userNamespace: string;
  readonly netNamespace: string;
  /**
   * A process in it, which keeps it. Once it has ended another may have its number: whoever reads below `/proc/PID`
   * compares `identity` afterwards.
   */
  readonly pid: number;
  /** What its network is called, `net:[INODE]` (namespaces(7)): nobody else's while a socket of it is open. */
  readonly identity: string;
  /** By `address:port`, listening. Their sockets are `allowHalfOpen` and paused. */
  readonly servers: ReadonlyMap<string, Server>;
  /** UDP, port 53 of the resolver's address. */
  readonly dns: DatagramSocket;
  /** False once the process that keeps it has ended, for whatever reason. */
  readonly alive: boolean;
}

export interface GuardOptions {
  /** `native/guard.c`, built. */
  readonly program: string;
  /** Whose namespaces they are: the sandbox's user. Unset: this process's. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Unset: `MAKE_MS_MAX`. */
  readonly makeMsMax?: number;
}

/** What is known of one namespace while it is made, and as long as it is there. */
interface Pending {
  readonly made: PromiseWithResolvers<Kept>;
  alive: boolean;
  readonly servers: Map<string, Server>;
  dns: DatagramSocket | undefined;
}

/** Who keeps a namespace, and what it is called. */
interface Kept {
  readonly pid: number;
  readonly identity: string;
}

type Answer = Readonly<Record<"id" | "at" | "failed" | "net", string | undefined>> & {
  readonly pid?: number;
  readonly errno?: number;
  readonly ended?: true;
};

/** Makes guarded namespaces, through one small process of ours that keeps them (`native/guard.c`). */
export class Guard implements AsyncDisposable {
  readonly #options: GuardOptions;
  readonly #pending = new Map<string, Pending>();
  #child: ChildProcess | undefined;
  /** Answers so far: a guard that says nothing while others wait for it is broken. */
  #heard = 0;

  constructor(options: GuardOptions) {
    this.#options = options;
  }

  /**
   * @param literals addresses outside of the block that are local there too
   * @throws GateError `ERR_SANDBOX_START` where the host refuses it.
   */
  async make(listening: readonly Listening[], literals: readonly string[] = []): Promise<GuardedNamespace> {
    const child = this.#running();
    const id = randomBytes(ID_BYTES).toString("hex");
    const pending: Pending = {
      made: Promise.withResolvers(),
      alive: true,
      servers: new Map(),
      dns: undefined,
    };
    this.#pending.set(id, pending);
    const { user, makeMsMax = MAKE_MS_MAX } = this.#options;
    const identity = user === undefined ? ["-", "-"] : [`${user.uid}`, `${user.gid}`];
    const blocks = [INSIDE_BLOCK, ...literals.map((address) => `${address}/32`)];
    hold(child, true);
    ask(child, [
      ...[id, ...identity, ...blocks.map((block) => `r${block}`), `u${RESOLVER_ADDRESS}:${DNS_PORT}`],
      ...listening.map(({ address, port }) => `t${address}:${port}`),
    ]);
    const heardBefore = this.#heard;
    const late = setTimeout(() => {
      pending.made.reject(failure(`it takes more than ${makeMsMax} ms`));
      if (this.#heard !== heardBefore) return;
      child.kill("SIGKILL");
      this.#lost(child, "the guard says nothing");
    }, makeMsMax);
    try {
      const kept = await pending.made.promise;
      if (pending.dns === undefined || pending.servers.size !== listening.length)
        throw failure("sockets of it are missing");
      return namespaceOf(kept, pending, pending.dns, () => ask(child, [id, "end"]));
    } catch (error) {
      // What still comes for it is closed as it comes.
      this.#pending.delete(id);
      await closeSockets(pending);
      ask(child, [id, "end"]);
      throw error;
    } finally {
      clearTimeout(late);
      if (![...this.#pending.values()].some(({ dns }) => dns === undefined)) hold(child, false);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((done) => child.once("exit", () => done()));
    child.ref();
    child.stdin?.end();
    if (child.connected) child.disconnect();
    const late = setTimeout(() => child.kill("SIGKILL"), MAKE_MS_MAX);
    await ended;
    clearTimeout(late);
  }

  #running(): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    const child = spawn(this.#options.program, [], {
      stdio: ["pipe", "ignore", "ignore", "ipc"],
      env: {},
      cwd: "/",
      detached: true,
    });
    child.stdin?.on("error", () => {}); // its end says so
    child.on("message", (message, handle) => this.#answered(message as Answer, handle));
    child.once("error", (error) => this.#lost(child, error.message));
    child.once("exit", () => this.#lost(child, "the guard ended"));
    this.#child = child;
    hold(child, false);
    return child;
  }

  #answered({ id = "", at = "", failed, errno, pid, net, ended }: Answer, handle: unknown): void {
    this.#heard += 1;
    const pending = this.#pending.get(id);
    if (pending === undefined) return void closeHandle(handle);
    if (failed !== undefined) pending.made.reject(failure(`${failed}: ${errnoName(errno)}`));
    else if (ended === true) {
      this.#pending.delete(id);
      pending.alive = false;
      pending.made.reject(failure("its keeper ended"));
    } else if (pid !== undefined) pending.made.resolve({ pid, identity: net ?? "" });
    else if (isDatagramSocket(handle)) pending.dns = handle.unref();
    else if (handle !== undefined) pending.servers.set(at, serverOn(handle));
  }

  /** It ended, and every keeper was killed with it. The next namespace has a new one. */
  #lost(child: ChildProcess, why: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    for (const pending of this.#pending.values()) {
      pending.made.promise.catch(() => {}); // who asked has it
      pending.made.reject(failure(why));
      pending.alive = false;
    }
    this.#pending.clear();
  }
}

function namespaceOf(
  { pid, identity }: Kept,
  pending: Pending,
  dns: DatagramSocket,
  end: () => void,
): GuardedNamespace {
  let isOpen = true;
  return {
    userNamespace: `/proc/${pid}/ns/user`,
    netNamespace: `/proc/${pid}/ns/net`,
    pid,
    identity,
    servers: pending.servers,
    dns,
    get alive() {
      return pending.alive;
    },
    [Symbol.asyncDispose]: async () => {
      if (!isOpen) return;
      isOpen = false;
      await closeSockets(pending);
      end();
    },
  };
}

/** Does not wait for connections: who made them ends them. */
async function closeSockets({ servers, dns }: Pending): Promise<void> {
  for (const server of servers.values()) server.close();
  // Closed already, where too much was asked of it.
  await new Promise<void>((done) => {
    try {
      dns === undefined ? done() : dns.close(done);
    } catch {
      done();
    }
  });
}

/** The kernel has been queueing its connections since it was made. */
function serverOn(handle: unknown): Server {
  const server = new Server({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  server.on("error", () => {}); // what it could not accept was closed
  return server.listen(handle).unref();
}

function isDatagramSocket(handle: unknown): handle is DatagramSocket {
  return typeof handle === "object" && handle !== null && "addMembership" in handle;
}

function closeHandle(handle: unknown): void {
  if (
    typeof handle === "object" &&
    handle !== null &&
    "close" in handle &&
    typeof handle.close === "function"
  )
    handle.close();
}

function ask(child: ChildProcess, words: readonly string[]): void {
  if (child.stdin?.writable === true) child.stdin.write([...words.map((word) => `${word}\0`), "\0"].join(""));
}

/** Whether it keeps this process from ending. */
function hold(child: ChildProcess, held: boolean): void {
  const change = held ? "ref" : "unref";
  child[change]();
  child.channel?.[change]();
  (child.stdin as Socket | null)?.[change]();
}

function errnoName(errno: number | undefined): string {
  return errno === undefined || errno <= 0 ? "unknown" : getSystemErrorName(-errno);
}

function failure(why: string): GateError {
  return new GateError("ERR_SANDBOX_START", `the sandbox's network could not be made: ${why}`, {
    remedy: "run `callgate doctor`",
  });
}
