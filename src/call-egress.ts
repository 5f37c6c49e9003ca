import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Project } from "./config/project.ts";
import type { Egress } from "./egress/egress.ts";
import { nativeProgram } from "./sandbox/native.ts";
import { deadNotes, writeNote } from "./sandbox/owner-note.ts";
import { sandboxUser } from "./sandbox/user.ts";

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
    const { settings, workspace, authorities } = this.#project;
    const { resolvers } = settings.egress;
    const [{ Egress }, { serversResolver, systemResolver }] = await Promise.all([
      import("./egress/egress.ts"),
      import("./egress/resolver.ts"),
    ]);
    return new Egress({
      guard: nativeProgram("guard"),
      ...(process.geteuid?.() === 0 ? { user: sandboxUser(workspace.root) } : {}),
      folder: ownFolder(this.#folder),
      resolver: resolvers.length === 0 ? systemResolver() : serversResolver(resolvers),
      authorities: [...authorities.values()],
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
