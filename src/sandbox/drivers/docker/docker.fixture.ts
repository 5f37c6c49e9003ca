import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, request } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DockerSettings } from "../../../contract/docker.ts";
import { DEFAULT_LIMITS, type Limits, type Profile } from "../../../contract/profile.ts";
import { within } from "../../deadline.ts";
import type { Command, ReleaseOptions } from "../../driver.ts";
import { buildProfile, type ProfileRequest } from "../../grants.ts";
import { readMounts } from "../../procfs.ts";
import { type Ran, UNCHECKED } from "../../sandbox.fixture.ts";
import { type HostUser, ROOT_STANDS_BACK } from "../../user.ts";
import { DockerDriver } from "./driver.ts";

const START_MS_MAX = 20_000;
const STOP_MS_MAX = 15_000;
const BUSYBOX = "/bin/busybox";
/** The first of the host's users that a remapping daemon's containers have. */
export const REMAPPED_FROM = 300_000;
const LOG_CHARS_MAX = 20_000;
const TAR_BYTES_MAX = 64 * 1024 * 1024;

/** Why no daemon can be started here; undefined where one can. */
export function whyNoDaemon(): string | undefined {
  if (process.geteuid?.() !== 0) return "only root can start a Docker daemon";
  if (!existsSync("/usr/sbin/dockerd")) return "dockerd is not installed (apt-get install docker.io)";
  return existsSync(BUSYBOX) ? undefined : "busybox-static is not installed";
}

/** A Docker daemon of the tests' own, without a network, with one image. */
export interface Daemon extends AsyncDisposable {
  readonly socket: string;
  /** By its id: it was imported, so it has no repository digest. */
  readonly image: string;
  /** Adds an image from the usual root, with what Dockerfile instructions say. @returns its id. */
  importImage(changes: readonly string[]): Promise<string>;
  /** Adds an image from a tar of a root file system. @returns its id. */
  importRoot(tar: Buffer): Promise<string>;
  /** Ids of all containers, running or not. */
  containers(): Promise<readonly string[]>;
  isRunning(container: string): Promise<boolean>;
  /** Ends without a word; what it ran goes on. */
  crash(): Promise<void>;
  /** On the same folder, where it clears up what `crash` left. */
  restart(): Promise<void>;
}

/** @param remap users by the daemon, to those from `REMAPPED_FROM` on. */
export async function startDaemon({ remap = false }: { readonly remap?: boolean } = {}): Promise<Daemon> {
  const base = mkdtempSync(join(tmpdir(), "callgate-dockerd-"));
  chmodSync(base, 0o711);
  const socket = join(base, "docker.sock");
  writeFileSync(join(base, "daemon.json"), "{}");
  writeFileSync(join(base, "subids"), `nobody:${REMAPPED_FROM}:65536\n`);
  let child = spawnDaemon(base, socket, remap);
  await answering(socket, child);
  const tar = rootTar(base);
  return {
    socket,
    image: await importTar(socket, tar, []),
    importImage: (changes) => importTar(socket, tar, changes),
    importRoot: (root: Buffer) => importTar(socket, root, []),
    containers: async () => {
      const listed = JSON.parse(await send(socket, "GET", "/containers/json?all=true")) as { Id: string }[];
      return listed.map(({ Id }) => Id);
    },
    isRunning: async (container) => {
      const said = JSON.parse(await send(socket, "GET", `/containers/${container}/json`));
      return (said as { State: { Running: boolean } }).State.Running;
    },
    crash: async () => {
      const ended = once(child, "exit");
      const containerd = readFileSync(join(base, "exec/containerd/containerd.pid"), "utf8");
      child.kill("SIGKILL");
      await ended;
      // It dies with its parent, and the next daemon would wait for it.
      while (existsSync(`/proc/${containerd}`)) await sleep(10);
    },
    restart: async () => {
      child = spawnDaemon(base, socket, remap);
      await answering(socket, child);
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      if ((await within(STOP_MS_MAX, ended)) === undefined) child.kill("SIGKILL");
      unmountBelow(base);
      rmSync(base, { recursive: true, force: true });
    },
  };
}

function spawnDaemon(base: string, socket: string, remap: boolean): ChildProcess {
  const folder = (option: string, name: string): string[] => [option, join(base, name)];
  // This host's own ranges stay as they are: the daemon sees others.
  const script = `mount --bind "$0" /etc/subuid && mount --bind "$0" /etc/subgid && exec "$@"`;
  const remapping = ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, join(base, "subids")];
  // It ends with the tests, also when these are killed.
  const daemon = ["/usr/bin/setpriv", "--pdeathsig", "TERM", "/usr/sbin/dockerd"];
  const [program = "", ...rest] = [...(remap ? remapping : []), ...daemon];
  return spawn(
    program,
    [
      ...rest,
      ...(remap ? ["--userns-remap=nobody:nogroup"] : []),
      ...["--bridge=none", "--iptables=false", "--ip6tables=false", "--host", `unix://${socket}`],
      ...folder("--data-root", "data"),
      ...folder("--exec-root", "exec"),
      ...folder("--pidfile", "pid"),
      ...folder("--config-file", "daemon.json"),
    ],
    { stdio: ["ignore", "ignore", "pipe"], env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } },
  );
}

/** A daemon that crashed leaves what it mounted. */
function unmountBelow(base: string): void {
  for (const { point } of readMounts("self").toReversed())
    if (point.startsWith(`${base}/`)) execFileSync("umount", ["--lazy", point]);
}

async function answering(socket: string, child: ChildProcess): Promise<void> {
  let log = "";
  child.stderr?.on("data", (chunk: Buffer) => (log = (log + chunk).slice(-LOG_CHARS_MAX)));
  const deadline = performance.now() + START_MS_MAX;
  while (child.exitCode === null && performance.now() < deadline) {
    if (existsSync(socket) && (await send(socket, "GET", "/_ping").catch(() => undefined)) === "OK") return;
    await sleep(20);
  }
  child.kill("SIGTERM");
  rmSync(dirname(socket), { recursive: true, force: true });
  throw new Error(`dockerd does not answer: ${log}`);
}

/** busybox under the names that the tests use, and a file of the image's own. */
function rootTar(base: string): Buffer {
  const root = join(base, "root");
  for (const folder of ["bin", "etc", "home", "tmp", "usr"])
    mkdirSync(join(root, folder), { recursive: true });
  copyFileSync(BUSYBOX, join(root, "bin/busybox"));
  const applets = execFileSync(BUSYBOX, ["--list"], { encoding: "utf8" }).trim().split("\n");
  for (const name of applets.filter((applet) => applet !== "busybox"))
    symlinkSync("busybox", join(root, "bin", name));
  writeFileSync(join(root, "etc/image"), "of the image\n");
  writeFileSync(join(root, "etc/evil"), "exit 9\n");
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nimage:x:77:77::/:/bin/sh\n");
  return execFileSync("tar", ["--numeric-owner", "--owner=0", "--group=0", "-C", root, "-c", "."], {
    maxBuffer: TAR_BYTES_MAX,
  });
}

async function importTar(socket: string, tar: Buffer, changes: readonly string[]): Promise<string> {
  const query = new URLSearchParams([
    ["fromSrc", "-"],
    ...changes.map((change) => ["changes", change] as [string, string]),
  ]);
  const said = await send(socket, "POST", `/images/create?${query}`, tar);
  const [, id] = /"status":"(sha256:[0-9a-f]{64})"/.exec(said) ?? [];
  if (id === undefined) throw new Error(`docker imported no image: ${said}`);
  return id;
}

async function send(socketPath: string, method: string, path: string, body?: Buffer): Promise<string> {
  return await new Promise((done, fail) => {
    const asked = request({ socketPath, method, path }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk));
      response.on("end", () => done(text));
    });
    asked.on("error", fail);
    asked.end(body);
  });
}

/** A workspace and a driver of their own, for one test. */
export interface DockerBench extends AsyncDisposable {
  readonly workspace: string;
  readonly folder: string;
  readonly user: HostUser;
  readonly driver: DockerDriver;
  profile(request?: Partial<ProfileRequest>, limits?: Partial<Limits>): Profile;
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
}

interface RunOptions extends ReleaseOptions {
  readonly profile?: Profile;
  readonly stdin?: Command["stdin"];
}

/** @param own the driver's folder; unset: a new one. */
export function openDockerBench(
  { socket, image }: { readonly socket: string; readonly image: string | undefined },
  settings: Partial<DockerSettings> = {},
  own?: string,
): DockerBench {
  const base = mkdtempSync(join(tmpdir(), "callgate-docker-"));
  const workspace = join(base, "workspace");
  const user = ROOT_STANDS_BACK;
  mkdirSync(workspace);
  writeFileSync(join(workspace, "a.txt"), "hello\n");
  for (const path of [base, workspace, join(workspace, "a.txt")]) chownSync(path, user.uid, user.gid);
  const folder = own ?? join(base, "state");
  const named = image === undefined ? {} : { image };
  const driver = new DockerDriver({
    folder,
    user,
    settings: { socket, ...named, runtime: "runc", ...settings },
  });
  const profile: DockerBench["profile"] = (request = {}, bounds = {}) =>
    buildProfile({
      isolation: "container",
      root: { from: "host" },
      files: { read: ["."], write: [], hide: [] },
      environment: {},
      workspace,
      ownHidden: [],
      ownProtected: [],
      home: "/nonexistent",
      treeLimits: true,
      limits: { ...DEFAULT_LIMITS, ...bounds },
      ...request,
    });
  return {
    workspace,
    folder,
    user,
    driver,
    profile,
    run: async (argv, { profile: asked, stdin, ...options } = {}) => {
      await using sandbox = await driver.open(asked ?? profile());
      const controls = await sandbox.inspect();
      const command = { argv, ...(stdin === undefined ? {} : { stdin }) };
      const execution = await sandbox.release(UNCHECKED, command, options);
      const text = (name: "stdout" | "stderr"): string =>
        execution.outcome === "unstarted" ? "" : Buffer.from(execution[name]).toString("utf8");
      return { controls, execution, stdout: text("stdout"), stderr: text("stderr") };
    },
    [Symbol.asyncDispose]: async () => {
      await driver[Symbol.asyncDispose]();
      rmSync(base, { recursive: true, force: true });
    },
  };
}

/** Folders of containers that the driver has not removed. */
export function leftIn({ folder }: DockerBench): readonly string[] {
  return readdirSync(folder).filter((name) => name.startsWith("cell-"));
}

/** The same daemon behind another socket, which never hears of the fields of a container that begin so. */
export async function leaveOut(
  field: string,
  { socket: target, image }: Daemon,
): Promise<AsyncDisposable & { readonly socket: string; readonly image: string }> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-lax-"));
  const socket = join(folder, "d.sock");
  const server = createServer((asked, response) => {
    const chunks: Buffer[] = [];
    asked.on("data", (chunk: Buffer) => chunks.push(chunk));
    asked.on("end", () => {
      const { method, url: path, headers } = asked;
      const body = without(field, Buffer.concat(chunks));
      const passed = { ...headers, "content-length": String(body.length) };
      request({ socketPath: target, method, path, headers: passed }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      }).end(body);
    });
  }).listen(socket);
  await once(server, "listening");
  return {
    socket,
    image,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      rmSync(folder, { recursive: true });
    },
  };
}

function without(field: string, body: Buffer): Buffer {
  if (body.length === 0) return body;
  const asked = JSON.parse(body.toString("utf8")) as Record<string, unknown> & { HostConfig?: object };
  const keep = ([name]: [string, unknown]): boolean => !name.startsWith(field);
  const config = Object.fromEntries(Object.entries(asked).filter(keep));
  const HostConfig = Object.fromEntries(Object.entries(asked.HostConfig ?? {}).filter(keep));
  return Buffer.from(JSON.stringify({ ...config, HostConfig }));
}
