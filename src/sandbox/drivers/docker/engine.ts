import { Agent, type IncomingMessage, request } from "node:http";
import { GateError } from "../../../contract/errors.ts";

/** How long the daemon may take over one request; starting a container on a busy host takes seconds. */
export const ENGINE_MS_MAX = 20_000;
/** The longest answer that is read. */
export const ANSWER_BYTES_MAX: number = 4 * 1024 * 1024;
/** What this driver was written against (Docker 20.10). A daemon that no longer speaks it names its own oldest. */
const API_VERSION = "1.41";

/** What the daemon said: its status and its JSON, or undefined where it said nothing. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** The Docker Engine's HTTP API over its Unix socket. */
export interface Engine {
  readonly socket: string;
  /** @throws GateError `ERR_DRIVER_UNAVAILABLE` where no daemon answers. A refusal is an answer. */
  call(method: "GET" | "POST" | "DELETE", path: string, body?: unknown): Promise<Answer>;
  close(): void;
}

export function connectEngine(socket: string, answerMsMax: number = ENGINE_MS_MAX): Engine {
  const agent = new Agent({ keepAlive: true });
  let version: Promise<string> | undefined;
  const send = async (method: string, path: string, body?: unknown): Promise<Answer> =>
    await exchange({ agent, socketPath: socket, method, path, timeout: answerMsMax }, body);
  return {
    socket,
    call: async (method, path, body) => {
      version ??= negotiate(send);
      try {
        return await send(method, `/v${await version}${path}`, body);
      } catch (error) {
        version = undefined; // the next daemon on this socket may be another
        throw unavailable(socket, error);
      }
    },
    close: () => agent.destroy(),
  };
}

/** The daemon's own words for a refusal. */
export function messageOf({ status, body }: Answer): string {
  const message = (body as { message?: unknown } | undefined)?.message;
  return typeof message === "string" && message !== "" ? message.trim() : `status ${status}`;
}

async function negotiate(send: (method: string, path: string) => Promise<Answer>): Promise<string> {
  const { body } = await send("GET", "/version");
  const oldest = (body as { MinAPIVersion?: unknown } | undefined)?.MinAPIVersion;
  return typeof oldest === "string" && isNewer(oldest, API_VERSION) ? oldest : API_VERSION;
}

function isNewer(a: string, b: string): boolean {
  const [aMajor = 0, aMinor = 0] = a.split(".").map(Number);
  const [bMajor = 0, bMinor = 0] = b.split(".").map(Number);
  return aMajor > bMajor || (aMajor === bMajor && aMinor > bMinor);
}

interface Target {
  readonly agent: Agent;
  readonly socketPath: string;
  readonly method: string;
  readonly path: string;
  readonly timeout: number;
}

async function exchange(target: Target, body: unknown): Promise<Answer> {
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
  const headers: Record<string, string | number> = { host: "docker" };
  if (payload !== undefined) {
    headers["content-type"] = "application/json";
    headers["content-length"] = payload.length;
  }
  const response = await new Promise<IncomingMessage>((done, fail) => {
    const asked = request({ ...target, headers }, done);
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${target.timeout} ms`)));
    asked.on("error", fail);
    asked.end(payload);
  });
  const text = await readBounded(response);
  return { status: response.statusCode ?? 0, body: parseJson(text) };
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`an answer longer than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // an empty answer, or a proxy's page: the status says what it is
  }
}

function unavailable(socket: string, cause: unknown): GateError {
  const code = (cause as NodeJS.ErrnoException).code;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new GateError("ERR_DRIVER_UNAVAILABLE", `the Docker daemon does not answer: ${why}`, {
    cause,
    remedy: remedyFor(socket, code),
  });
}

function remedyFor(socket: string, code: string | undefined): string {
  if (code === "EACCES") {
    return `add the gateway's user to the group that owns \`${socket}\` (\`usermod -aG docker USER\`); whoever is in it can become root on this host`;
  }
  return `start it (\`systemctl start docker\`), or name its socket in \`sandbox.docker.socket\`; it is not at \`${socket}\` now`;
}
