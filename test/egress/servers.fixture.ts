import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SecureContext } from "node:tls";
import { Authority } from "../../src/egress/http/authority.ts";

/** A real server on loopback, ended by its own process or handle. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
}

export interface HttpsServer extends TestServer {
  /** `METHOD path` of what arrived, in order. */
  readonly seen: string[];
}

const READY_MS_MAX = 20_000;

export function testAuthority(): Promise<Authority> {
  return Authority.create();
}

function byName(authority: Authority) {
  return {
    SNICallback: (name: string, done: (error: Error | null, context?: SecureContext) => void): void => {
      authority.contextFor(name).then(
        (context) => done(null, context),
        (error) => done(error),
      );
    },
  };
}

async function listening(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return (server.address() as AddressInfo).port;
}

/** Answers JSON of what it was asked; `/reflect` the headers, `/big?N` that many bytes, `/stall` nothing, `/flood` no end. */
export async function startHttps(authority: Authority, more?: RequestListener): Promise<HttpsServer> {
  const seen: string[] = [];
  const server = createHttpsServer(byName(authority), (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    if (more === undefined) echo(request, response);
    else more(request, response);
  });
  server.on("upgrade", (request, socket) => {
    seen.push(`UPGRADE ${request.url}`);
    socket.on("error", () => {});
    socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello");
  });
  server.on("tlsClientError", () => {});
  const port = await listening(server);
  return { port, seen, [Symbol.asyncDispose]: () => closed(server) };
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  response.on("error", () => {});
  const url = new URL(request.url ?? "/", "https://a.test");
  if (url.pathname === "/stall") return;
  if (url.pathname === "/flood") {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, "x")));
    };
    response.on("drain", more);
    more();
    return;
  }
  if (url.pathname === "/big") {
    response.end(Buffer.alloc(Number(url.search.slice(1)), "x"));
    return;
  }
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk));
  request.on("end", () => {
    const { method, url: target, headers } = request;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ hello: "from the host", method, target, headers, body }));
  });
}

/** HTTP/2 alone, by ALPN. */
export async function startHttp2(authority: Authority): Promise<TestServer> {
  const server = createSecureServer({ ...byName(authority), allowHTTP1: false });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.end(`h2 for ${headers[":authority"]}`);
  });
  const port = await listening(server);
  return { port, [Symbol.asyncDispose]: () => closed(server) };
}

async function closed(server: Server): Promise<void> {
  if ("closeAllConnections" in server)
    (server as unknown as { closeAllConnections(): void }).closeAllConnections();
  server.close();
}

/** A bare repository `/repo.git` with one commit, over HTTPS by git's own CGI; pushes are taken. */
export async function startGit(authority: Authority): Promise<HttpsServer> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-git-"));
  const work = join(folder, "work");
  const git = (...words: string[]): void => {
    execFileSync("git", words, {
      cwd: folder,
      stdio: "ignore",
      env: { PATH: "/usr/bin:/bin", HOME: folder, GIT_CONFIG_NOSYSTEM: "1" },
    });
  };
  git("init", "-q", "-b", "main", work);
  writeFileSync(join(work, "README"), "from the repository\n");
  git("-C", work, "add", "README");
  git("-C", work, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "one");
  git("clone", "-q", "--bare", work, join(folder, "repo.git"));
  git("-C", join(folder, "repo.git"), "config", "http.receivepack", "true");
  const server = await startHttps(authority, (request, response) => gitBackend(folder, request, response));
  return {
    ...server,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function gitBackend(root: string, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "https://a.test");
  const child = spawn("git", ["-c", "safe.directory=*", "http-backend"], {
    stdio: ["pipe", "pipe", "ignore"],
    env: {
      PATH: "/usr/bin:/bin",
      HOME: root,
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: "1",
      REMOTE_USER: "tester",
      REQUEST_METHOD: request.method ?? "GET",
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      CONTENT_TYPE: request.headers["content-type"] ?? "",
      ...(request.headers["content-encoding"] === undefined
        ? {}
        : { HTTP_CONTENT_ENCODING: request.headers["content-encoding"] }),
    },
  });
  request.pipe(child.stdin);
  child.stdin.on("error", () => {});
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  child.on("close", () => {
    const all = Buffer.concat(chunks);
    const end = all.indexOf("\r\n\r\n");
    for (const line of all.toString("latin1", 0, Math.max(end, 0)).split("\r\n")) {
      const [name = "", value = ""] = line.split(": ");
      if (name === "Status") response.statusCode = Number.parseInt(value, 10);
      else if (name !== "") response.setHeader(name, value);
    }
    response.end(all.subarray(end + 4));
  });
}

/** One package, `tiny-thing` 1.0.0, for npm and for pip. */
export async function startRegistry(authority: Authority, name: string): Promise<HttpsServer> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-registry-"));
  const tarball = packNpm(folder);
  const wheel = packWheel(folder);
  let port = 0;
  const server = await startHttps(authority, (request, response) => {
    const path = new URL(request.url ?? "/", "https://a.test").pathname;
    if (path === "/tiny-thing") {
      const dist = { tarball: `https://${name}:${port}/tiny-thing-1.0.0.tgz` };
      const versions = { "1.0.0": { name: "tiny-thing", version: "1.0.0", dist } };
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ name: "tiny-thing", "dist-tags": { latest: "1.0.0" }, versions }));
    } else if (path.endsWith(".tgz")) response.end(tarball);
    else if (path.endsWith(".whl")) response.end(wheel);
    else if (path === "/simple/tiny-thing/") {
      response.setHeader("content-type", "text/html");
      response.end(`<a href="/${WHEEL}">${WHEEL}</a>`);
    } else {
      response.statusCode = 404;
      response.end("{}");
    }
  });
  port = server.port;
  return {
    ...server,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function packNpm(folder: string): Buffer {
  mkdirSync(join(folder, "package"));
  const manifest = JSON.stringify({ name: "tiny-thing", version: "1.0.0" });
  writeFileSync(join(folder, "package/package.json"), manifest);
  execFileSync("tar", ["-czf", "p.tgz", "package"], { cwd: folder });
  return readFileSync(join(folder, "p.tgz"));
}

const WHEEL = "tiny_thing-1.0.0-py3-none-any.whl";

function packWheel(folder: string): Buffer {
  const info = join(folder, "tiny_thing-1.0.0.dist-info");
  mkdirSync(info);
  writeFileSync(join(folder, "tiny_thing.py"), "x = 1\n");
  writeFileSync(join(info, "METADATA"), "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0.0\n");
  writeFileSync(join(info, "WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
  writeFileSync(
    join(info, "RECORD"),
    [
      "tiny_thing.py,,",
      ...["METADATA", "WHEEL", "RECORD"].map((one) => `tiny_thing-1.0.0.dist-info/${one},,`),
    ].join("\n"),
  );
  execFileSync(
    "/usr/bin/python3",
    ["-m", "zipfile", "-c", WHEEL, "tiny_thing.py", "tiny_thing-1.0.0.dist-info"],
    {
      cwd: folder,
    },
  );
  return readFileSync(join(folder, WHEEL));
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await new Promise<void>((done) => server.close(() => done()));
  return port;
}

/** A daemon of Debian's, as nobody who matters, in a folder of its own. */
async function startDaemon(
  folder: string,
  port: number,
  argv: readonly string[],
  asRoot: boolean = false,
): Promise<TestServer> {
  const isRoot = process.geteuid?.() === 0;
  const stepBack = ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
  const [program = "", ...words] = isRoot && !asRoot ? [...stepBack, ...argv] : argv;
  const child = spawn(program, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (said += chunk));
  await answers(child, port, () => said);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const ended = new Promise<void>((done) => child.once("exit", () => done()));
      // PostgreSQL's "fast shutdown"; the others end as well.
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGINT");
        const late = setTimeout(() => child.kill("SIGKILL"), 3_000);
        await ended;
        clearTimeout(late);
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answers(child: ChildProcess, port: number, said: () => string): Promise<void> {
  const begun = performance.now();
  while (performance.now() - begun < READY_MS_MAX) {
    if (child.exitCode !== null) throw new Error(`the server ended: ${said()}`);
    const isOpen = await new Promise<boolean>((done) => {
      const socket = connect(port, "127.0.0.1", () => done(true)).on("error", () => done(false));
      socket.unref();
      socket.once("connect", () => socket.destroy());
    });
    if (isOpen) return;
    await sleep(30);
  }
  child.kill("SIGKILL");
  throw new Error(`the server does not answer: ${said()}`);
}

function ownFolder(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `callgate-${name}-`));
  if (process.geteuid?.() === 0) chownSync(folder, 65_534, 65_534);
  return folder;
}

export async function startRedis(): Promise<TestServer> {
  const port = await freePort();
  const folder = ownFolder("redis");
  return await startDaemon(folder, port, [
    ...["/usr/bin/redis-server", "--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
  ]);
}

/** @param bin where Debian puts the server's programs */
export async function startPostgres(bin: string): Promise<TestServer> {
  const port = await freePort();
  const folder = ownFolder("postgres");
  const data = join(folder, "data");
  const isRoot = process.geteuid?.() === 0;
  const initdb = [join(bin, "initdb"), "-D", data, "-A", "trust", "-U", "tester", "--no-sync"];
  const words = isRoot
    ? ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--", ...initdb]
    : initdb.slice(1);
  execFileSync(isRoot ? "/usr/bin/setpriv" : (initdb[0] ?? ""), words, { cwd: folder, stdio: "ignore" });
  return await startDaemon(folder, port, [
    join(bin, "postgres"),
    ...["-D", data, "-p", `${port}`, "-h", "127.0.0.1", "-k", folder, "-F"],
  ]);
}

export interface SshServer extends TestServer {
  /** The key that it takes, PEM. */
  readonly key: string;
  /** Its own key, as a line of `known_hosts` without the host. */
  readonly hostKey: string;
  readonly user: string;
}

/** Takes one key, and runs one command whatever it is asked for. */
export async function startSsh(user: string): Promise<SshServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "callgate-ssh-"));
  const keygen = (name: string): void => {
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(folder, name)]);
  };
  keygen("host");
  keygen("client");
  const [key, hostKey, client] = ["client", "host.pub", "client.pub"].map((name) =>
    readFileSync(join(folder, name), "utf8"),
  );
  writeFileSync(join(folder, "authorized"), `command="echo over ssh",restrict ${client}`);
  chmodSync(join(folder, "authorized"), 0o644);
  if (process.geteuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const options = [
    `HostKey=${join(folder, "host")}`,
    `AuthorizedKeysFile=${join(folder, "authorized")}`,
    ...[
      "StrictModes=no",
      "UsePAM=no",
      "PasswordAuthentication=no",
      "PermitRootLogin=prohibit-password",
      "PidFile=none",
    ],
  ];
  const argv = [
    "/usr/sbin/sshd",
    "-D",
    "-e",
    "-f",
    "/dev/null",
    "-p",
    `${port}`,
    "-o",
    "ListenAddress=127.0.0.1",
  ];
  const server = await startDaemon(
    folder,
    port,
    [...argv, ...options.flatMap((option) => ["-o", option])],
    true,
  );
  return { ...server, key: key ?? "", hostKey: (hostKey ?? "").split(" ").slice(0, 2).join(" "), user };
}
