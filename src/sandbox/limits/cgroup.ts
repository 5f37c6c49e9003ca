import { randomInt } from "node:crypto";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { isAlive } from "../procfs.ts";
import type { LimitBackend, LimitGroup } from "./backend.ts";
import { tryRemove } from "./cgroup-files.ts";
import { CgroupGroup, type ControllerHomes } from "./cgroup-group.ts";

const PREFIX = "callgate-";

/** cgroup v2, v1, or each controller where it lives on a hybrid host. */
export class CgroupBackend implements LimitBackend {
  readonly name: string;
  readonly #homes: ControllerHomes;
  /** Gateways in two containers may have the same pid and share a cgroup. */
  readonly #nonce = randomInt(1e9) * 1000;
  #made = 0;

  constructor(homes: ControllerHomes) {
    this.#homes = homes;
    const versions = new Set(Object.values(homes).map((home) => home.version));
    this.name = versions.size > 1 ? "cgroup hybrid" : `cgroup v${[...versions][0] ?? 2}`;
    this.#removeOrphans();
  }

  create(): LimitGroup {
    this.#made += 1;
    return new CgroupGroup(this.#homes, `${PREFIX}${process.pid}-${this.#nonce + this.#made}`);
  }

  /** A gateway that was killed leaves its groups; only those of processes that are gone are removed. */
  #removeOrphans(): void {
    for (const folder of new Set(Object.values(this.#homes).map((home) => home.folder))) {
      for (const name of readdirSync(folder)) {
        const owner = Number(/^callgate-(\d+)-\d+$/.exec(name)?.[1]);
        if (owner > 0 && !isAlive(owner)) tryRemove(join(folder, name));
      }
    }
  }
}
