import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmodSync, existsSync, readFileSync, statSync } from "node:fs";
import { connect, createServer, type ListenOptions } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { hasEnded, readStartTicks } from "../sandbox/procfs.ts";
import type { Stage } from "./probe.ts";
import { PLANTED, type Scene } from "./scene.ts";

/** How long the host waits to see something that should not come. */
const GRACE_MS = 400;
const POLL_MS = 20;

/** The host's file says something else than was planted, or is gone. */
export function changed(path: string): () => string | undefined {
  return () => {
    const text = existsSync(path) ? readFileSync(path, "utf8") : undefined;
    if (text === PLANTED) return undefined;
    return text === undefined ? `${path} is gone from the host` : `${path} was changed on the host`;
  };
}

/** A path is there that was not. */
export function appeared(path: string): () => string | undefined {
  return () => (existsSync(path) ? `${path} was made on the host` : undefined);
}

/** A file has another mode than when it was asked for. */
export function modeChanged(path: string): () => string | undefined {
  const before = statSync(path).mode;
  return () => (statSync(path).mode === before ? undefined : `the mode of ${path} was changed on the host`);
}

/** One of the files would run as its owner, whoever starts it. */
export function setIdBit(...paths: readonly string[]): () => string | undefined {
  return () => {
    const found = paths.find((path) => existsSync(path) && (statSync(path).mode & 0o6000) !== 0);
    return found === undefined ? undefined : `${found} has a set-ID bit on the host`;
  };
}

/** Somebody on the host who listens, tells the secret to whoever comes, and says that somebody did. */
export async function listener(
  scene: Scene,
  place: ListenOptions,
): Promise<Stage & { readonly port: number }> {
  let visitors = 0;
  const server = createServer((socket) => {
    visitors += 1;
    socket.on("error", () => undefined);
    socket.end(scene.secret);
  });
  const broken = once(server, "error").then(([error]) => Promise.reject(error));
  server.listen(place);
  await Promise.race([once(server, "listening"), broken]);
  broken.catch(() => undefined);
  // A mode that lets everybody in: who may open the socket is not what is tried.
  if (place.path !== undefined && !place.path.startsWith("\0")) chmodSync(place.path, 0o777);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    effect: () => (visitors > 0 ? `the host's listener had ${visitors} visitors` : undefined),
    close: () => void server.close(),
  };
}

/** The same for datagrams. */
export async function datagrams(scene: Scene, host: string): Promise<Stage & { readonly port: number }> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  let visitors = 0;
  socket.on("message", (_, from) => {
    visitors += 1;
    socket.send(scene.secret, from.port, from.address);
  });
  socket.bind(0, host);
  await once(socket, "listening");
  return {
    port: socket.address().port,
    effect: () => (visitors > 0 ? `the host's socket had ${visitors} datagrams` : undefined),
    close: () => void socket.close(),
  };
}

/** The host tries to come in at a port of its own loopback, as long as the program runs. */
export async function knocking(scene: Scene): Promise<Stage> {
  const free = await listener(scene, { host: "127.0.0.1", port: 0 });
  await free.close?.();
  return {
    args: [`${free.port}`],
    meanwhile: async (ended) => {
      while (!ended.aborted) {
        const socket = connect(free.port, "127.0.0.1");
        socket.on("error", () => undefined);
        await Promise.race([once(socket, "connect"), once(socket, "close")]).catch(() => undefined);
        socket.destroy();
        await sleep(POLL_MS);
      }
    },
  };
}

/** A process of the host, with the secret in its memory, its environment, its arguments and an open file. */
export interface Victim {
  readonly pid: number;
  /** Where in its memory the secret stands. */
  readonly address: string;
  readonly ended: () => string | undefined;
  readonly close: () => void;
}

/** prctl(2), PR_SET_PTRACER to anybody: Yama would otherwise keep the control from what it is to show. */
const PR_SET_PTRACER = "0x59616d61";

const VICTIM = `my $prctl = shift; my $s = $ENV{VICTIM_SECRET};
open my $f, '<', $ENV{VICTIM_FILE}; syscall $prctl + 0, ${PR_SET_PTRACER}, -1, 0, 0, 0;
setpgrp 0, 0; $| = 1; print unpack('Q', pack('P', $s)), " ", fileno $f, "\\n"; sleep 60;`;

export async function victim(scene: Scene): Promise<Victim & { readonly fd: string }> {
  const prctl = process.arch === "arm64" ? "167" : "157";
  const identity = process.geteuid?.() === 0 ? { uid: scene.user.uid, gid: scene.user.gid } : {};
  const child = spawn("/usr/bin/perl", ["-e", VICTIM, prctl, scene.secret], {
    env: { VICTIM_SECRET: scene.secret, VICTIM_FILE: `${scene.outside}/secret.txt` },
    stdio: ["ignore", "pipe", "ignore"],
    ...identity,
  });
  const [address = "", fd = ""] = (await firstLine(child)).split(" ");
  const pid = child.pid ?? 0;
  const ticks = readStartTicks(pid) ?? "";
  return {
    pid,
    address,
    fd,
    ended: () => (hasEnded(pid, ticks) ? `the host's process ${pid} was ended` : undefined),
    close: () => void child.kill("SIGKILL"),
  };
}

/** A System V shared memory segment of the host that holds the secret; gone when the stage closes. */
export async function sharedMemory(scene: Scene): Promise<Stage> {
  const key = String(1 + (randomBytes(4).readUInt32BE() % 0x7fff_0000));
  const keeper = `my ($key, $s) = @ARGV; my $id = shmget $key, 4096, 0001666; defined $id or exit 1;
shmwrite $id, $s, 0, length $s; $| = 1; print "up\\n"; sysread STDIN, my $x, 1; shmctl $id, 0, 0;`;
  const child = spawn("/usr/bin/perl", ["-e", keeper, key, scene.secret], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  await firstLine(child);
  return {
    args: [key],
    close: async () => {
      child.stdin?.end();
      await once(child, "close");
    },
  };
}

/** A daemon that outlives its call answers when it is asked to, in a file of the workspace. */
export function outliving(scene: Scene): Stage {
  const ask = `${scene.workspace}/ask`;
  const answer = `${scene.workspace}/answer`;
  return {
    args: [ask, answer],
    effect: async () => {
      scene.plant(ask, "are you there?");
      for (let waited = 0; waited < GRACE_MS && !existsSync(answer); waited += POLL_MS) await sleep(POLL_MS);
      return existsSync(answer) ? "a process outlived the call and wrote into the workspace" : undefined;
    },
  };
}

/** A variable of the gate's own environment, as a token in a pipeline is. */
export function ownVariable(scene: Scene): Stage {
  const name = `CALLGATE_SELFTEST_${scene.secret.slice(-8).toUpperCase()}`;
  process.env[name] = scene.secret;
  return { close: () => void delete process.env[name] };
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout?.setEncoding("utf8");
  return await new Promise((done, fail) => {
    child.stdout?.on("data", (chunk: string) => {
      text += chunk;
      if (text.includes("\n")) done(text.slice(0, text.indexOf("\n")));
    });
    child.once("close", () => fail(new Error("a helper of the selftest ended early")));
    child.once("error", fail);
  });
}
