import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Project } from "./config/project.ts";
import { GateError } from "./contract/errors.ts";
import type { Egress } from "./egress/egress.ts";
import { nativeProgram } from "./sandbox/native.ts";
import { deadNotes, writeNote } from "./sandbox/owner-note.ts";
import { sandboxUser } from "./sandbox/user.ts";

/** PEM (RFC 7468), of certificates and nothing else: a key does not belong there. */
const CERTIFICATES = /^(?:\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$/;
const AUTHORITIES_BYTES_MAX = 1024 * 1024;

/** The edge of a gate's network, made when the first call needs one. */
export class LazyEgress implements AsyncDisposable {
  readonly #folder: string;
  readonly #project: Project;
  #egress: Promise<Egress> | undefined;

  /** @param folder of ours, outside of every sandbox */
  constructor(folder: string, project: Project) {
    this.#folder = folder;
    this.#project = project;
  }

  get(): Promise<Egress> {
    this.#egress ??= this.#open().catch((error) => {
      this.#egress = undefined;
      throw error;
    });
    return this.#egress;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#egress?.catch(() => undefined))?.[Symbol.asyncDispose]();
  }

  async #open(): Promise<Egress> {
    const { settings, workspace } = this.#project;
    const { resolvers, authorities } = settings.egress;
    const [{ Egress }, { serversResolver, systemResolver }] = await Promise.all([
      import("./egress/egress.ts"),
      import("./egress/resolver.ts"),
    ]);
    return new Egress({
      guard: nativeProgram("guard"),
      ...(process.geteuid?.() === 0 ? { user: sandboxUser(workspace.root) } : {}),
      folder: ownFolder(this.#folder),
      resolver: resolvers.length === 0 ? systemResolver() : serversResolver(resolvers),
      authorities: authorities.map((path) => readAuthorities(join(workspace.root, path))),
    });
  }
}

/** A folder for this process; those of processes that are gone are removed. */
function ownFolder(folder: string): string {
  for (const path of deadNotes<string>(folder)) rmSync(path, { recursive: true, force: true });
  const path = join(folder, `${process.pid}-${process.hrtime.bigint()}`);
  writeNote(folder, path);
  return path;
}

function readAuthorities(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw invalid(path, "cannot be read", cause);
  }
  if (text.length > AUTHORITIES_BYTES_MAX)
    throw invalid(path, `is larger than ${AUTHORITIES_BYTES_MAX} bytes`);
  if (!CERTIFICATES.test(text)) throw invalid(path, "is not a file of PEM certificates and nothing else");
  return text;
}

function invalid(path: string, why: string, cause?: unknown): GateError {
  return new GateError("ERR_CONFIG_INVALID", `\`egress.authorities\`: ${path} ${why}`, {
    cause,
    remedy: "name a file that holds certificates, each between BEGIN CERTIFICATE and END CERTIFICATE",
  });
}
