import { spawn } from "node:child_process";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import type { SecretSource } from "./config/credentials.ts";
import { GateError } from "./contract/errors.ts";

export const SECRET_BYTES_MAX: number = 64 * 1024;
const COMMAND_MS_MAX = 10_000;

export interface SourceOptions {
  /** The gateway's own. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly commandMsMax?: number;
}

/**
 * What fetches the secret of a credential, each time it is called. Nothing that it throws holds a byte of what it read:
 * no cause, and of a command neither its output nor its arguments.
 */
export function secretSource(from: SecretSource, options: SourceOptions = {}): () => Promise<string> {
  const { environment = process.env, commandMsMax = COMMAND_MS_MAX } = options;
  return async () => {
    if ("environment" in from) return fromEnvironment(from.environment, environment);
    const bytes =
      "file" in from ? readPrivate(from.file) : await outputOf(from.command, { environment, commandMsMax });
    return textOf(bytes, "file" in from ? from.file : (from.command[0] ?? ""));
  };
}

function unavailable(message: string, remedy: string): GateError {
  return new GateError("ERR_CREDENTIAL", message, { remedy });
}

function fromEnvironment(variable: string, environment: NonNullable<SourceOptions["environment"]>): string {
  const value = environment[variable];
  if (value === undefined || value === "")
    throw unavailable(`the gateway has no variable \`${variable}\``, "set it where the gateway is started");
  return value;
}

function tooLong(place: string): GateError {
  return unavailable(
    `\`${place}\` gives more than ${SECRET_BYTES_MAX} bytes`,
    "a secret is one value: name a file or a command that gives nothing else",
  );
}

/** UTF-8, without the newline that editors and commands end with. */
function textOf(bytes: Buffer, place: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, "");
  } catch {
    throw unavailable(`\`${place}\` gives what is not text`, "a secret is UTF-8 text");
  }
}

function readPrivate(path: string): Buffer {
  let fd: number;
  try {
    // Not to wait for the other end of a pipe.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw unavailable(
      `\`${path}\` cannot be read (${code})`,
      "put the secret there, readable for this user alone",
    );
  }
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile()) throw unavailable(`\`${path}\` is not a regular file`, "put a regular file there");
    if (stats.uid !== process.geteuid?.())
      throw unavailable(`\`${path}\` belongs to another user`, `chown $(id -u) ${path}`);
    if ((stats.mode & 0o077) !== 0)
      throw unavailable(`\`${path}\` can be read or written by others`, `chmod go= ${path}`);
    const bytes = Buffer.alloc(SECRET_BYTES_MAX + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null);
    if (length > SECRET_BYTES_MAX) throw tooLong(path);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}

/** What a program of the gateway's owner writes. It gets no input, and of the environment what finds programs and files. */
function outputOf(
  [program = "", ...rest]: readonly string[],
  { environment, commandMsMax }: Required<SourceOptions>,
): Promise<Buffer> {
  const ended = Promise.withResolvers<Buffer>();
  const { PATH, HOME } = environment;
  const env = { ...(PATH === undefined ? {} : { PATH }), ...(HOME === undefined ? {} : { HOME }) };
  // A group of its own, so that nothing it started outlives the clock.
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "ignore"], env, cwd: "/", detached: true });
  const stop = (why: GateError): void => {
    ended.reject(why);
    child.stdout.destroy();
    if (child.pid !== undefined) killGroup(child.pid);
  };
  const clock = setTimeout(() => {
    stop(
      unavailable(
        `\`${program}\` took more than ${commandMsMax} ms`,
        "run it by hand and see what it waits for",
      ),
    );
  }, commandMsMax);
  const chunks: Buffer[] = [];
  let length = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > SECRET_BYTES_MAX) stop(tooLong(program));
    else chunks.push(chunk);
  });
  child.on("error", (error: NodeJS.ErrnoException) => {
    clearTimeout(clock);
    ended.reject(
      unavailable(`\`${program}\` cannot be started (${error.code})`, "name a program that is there"),
    );
  });
  child.on("close", (code, signal) => {
    clearTimeout(clock);
    if (code === 0) ended.resolve(Buffer.concat(chunks));
    const how = code === null ? `was killed by ${signal}` : `ended with code ${code}`;
    ended.reject(unavailable(`\`${program}\` ${how}`, "run it by hand: its own words are not shown here"));
  });
  return ended.promise;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It ended by itself in between.
  }
}
