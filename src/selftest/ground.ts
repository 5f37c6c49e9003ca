import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawForSelftest } from "../capability/capability.ts";
import type { Capability } from "../contract/capability.ts";
import { digestOf } from "../contract/ids.ts";
import { type HostUser, ROOT_STANDS_BACK } from "../sandbox/user.ts";
import { PROBES } from "./probes.ts";
import { USABILITY } from "./usability.ts";

/** The one capability that is drawn for no call: it lets in nothing but programs of this package. */
export function selftestCapability(): Capability {
  return drawForSelftest(digestOf(JSON.stringify([PROBES, USABILITY])));
}

/** A folder of our own below the temporary folder, gone when it is disposed. */
export interface Place extends Disposable {
  /** For scenes; everybody may pass through. */
  readonly scenes: string;
  /** For the drivers' own files. */
  readonly own: string;
  /** Who a sandbox is on the host, and who owns the scenes. */
  readonly user: HostUser;
}

export function openGround(): Place {
  const base = mkdtempSync(join(realpathSync(tmpdir()), "callgate-selftest-"));
  const scenes = join(base, "scenes");
  const own = join(base, "own");
  mkdirSync(scenes);
  mkdirSync(own, { mode: 0o700 });
  for (const path of [base, scenes]) chmodSync(path, 0o755);
  const uid = process.geteuid?.() ?? 0;
  const user = uid === 0 ? ROOT_STANDS_BACK : { uid, gid: process.getegid?.() ?? 0 };
  return { scenes, own, user, [Symbol.dispose]: () => rmSync(base, { recursive: true, force: true }) };
}
