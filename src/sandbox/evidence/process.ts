import { readFileSync, readlinkSync } from "node:fs";
import { constants as os } from "node:os";
import type { Control } from "../../contract/execution.ts";
import type { Digest } from "../../contract/ids.ts";
import type { LandlockTrial } from "../dialogue.ts";
import { FD } from "../launcher.ts";
import { type MountEntry, readDescriptors } from "../procfs.ts";
import { type HostUser, INSIDE } from "../user.ts";

const EVIDENCE_LENGTH_MAX = 300;

/** What was asked for, to be held against what is answered. */
export interface AskedSeccomp {
  readonly digest: Digest;
  readonly canaryErrno: number;
}

/** Read from the host's kernel. */
export function verified(holds: boolean, evidence: string): Control {
  return {
    state: holds ? "enforced" : "unavailable",
    basis: "verified",
    evidence: evidence.slice(0, EVIDENCE_LENGTH_MAX),
  };
}

/** Tried inside. */
export function probed(holds: boolean, evidence: string): Control {
  return { ...verified(holds, evidence), basis: "probed" };
}

const NAMESPACES = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] as const;

/** A process's own namespaces, each compared with this process's. */
export function namespaces(pid: number, names: readonly string[] = NAMESPACES): Control {
  const shared = names.filter(
    (name) => readlinkSync(`/proc/${pid}/ns/${name}`) === readlinkSync(`/proc/self/ns/${name}`),
  );
  const inodes = names.map((name) => `${name} ${/\d+/.exec(readlinkSync(`/proc/${pid}/ns/${name}`))?.[0]}`);
  return verified(
    shared.length === 0,
    shared.length === 0 ? inodes.join(", ") : `shared with the host: ${shared.join(", ")}`,
  );
}

/** Mode 2 and a filter count say that some filter is loaded; the canary's number says that it is this one. */
export function seccomp(status: ReadonlyMap<string, string>, answered: number, asked: AskedSeccomp): Control {
  const [mode, filters] = [status.get("Seccomp"), status.get("Seccomp_filters") ?? "?"];
  return verified(
    mode === "2" && answered === asked.canaryErrno,
    `mode ${mode}, filters ${filters}, canary ${answered} of ${asked.canaryErrno}, program ${asked.digest}`,
  );
}

/** The kernel shows nobody a process's Landlock rules: the launcher tries a file that none of them names. */
export function landlock(trial: LandlockTrial | undefined): Control {
  if (trial === undefined) return unavailable("no Landlock rules: they need the native launcher");
  if (trial.abi === 0) return unavailable("this kernel has no Landlock of ABI 2 or newer");
  const { abi, errnoBefore, errnoAfter } = trial;
  const bites = errnoBefore === 0 && errnoAfter === os.errno.EACCES;
  return {
    state: bites ? "enforced" : "unavailable",
    basis: "probed",
    evidence: `Landlock ABI ${abi}; a file that no rule names: errno ${errnoBefore} before, ${errnoAfter} after`,
  };
}

export function unavailable(evidence: string): Control {
  return { state: "unavailable", basis: "verified", evidence };
}

export function capabilities(status: ReadonlyMap<string, string>): Control {
  const sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(
    (name) => [name, status.get(name) ?? "?"] as const,
  );
  return verified(
    sets.every(([, value]) => /^0+$/.test(value)),
    sets.map(([name, value]) => `${name} ${value.replace(/^0+(?=.)/, "")}`).join(", "),
  );
}

export function readOnlyRoot(mounts: readonly MountEntry[]): Control {
  const root = mounts.find((mount) => mount.point === "/");
  return verified(root?.writable === false, `/ is ${root?.writable === false ? "read-only" : "writable"}`);
}

export function user(
  pid: number,
  status: ReadonlyMap<string, string>,
  asked: HostUser,
  inside: number = INSIDE.uid,
): Control {
  const uids = (status.get("Uid") ?? "").split(/\s+/).map(Number);
  const gids = (status.get("Gid") ?? "").split(/\s+/).map(Number);
  const groups = (status.get("Groups") ?? "").trim();
  const holds =
    uids.length === 4 &&
    uids.every((uid) => uid === asked.uid && uid !== 0) &&
    gids.every((gid) => gid === asked.gid && gid !== 0);
  const map = readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().replace(/\s+/g, " ");
  return verified(
    holds && !groups.split(/\s+/).includes("0"),
    `host uid ${uids[0]}, gid ${gids[0]}, groups ${groups === "" ? "none" : groups}, inside ${inside}, uid_map ${map}`,
  );
}

export function network(pid: number): Control {
  const devices = readFileSync(`/proc/${pid}/net/dev`, "utf8")
    .split("\n")
    .slice(2)
    .map((line) => line.split(":")[0]?.trim() ?? "")
    .filter((name) => name !== "");
  const own = readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync("/proc/self/ns/net");
  return verified(
    own && devices.every((name) => name === "lo"),
    `${own ? "own" : "the host's"} namespace, devices: ${devices.join(", ")}`,
  );
}

/** Before release the launcher's own variables are all there is; the tool's come with the request. */
export function environment(pid: number, known: readonly string[] = ["PWD"]): Control {
  const names = readFileSync(`/proc/${pid}/environ`, "utf8")
    .split("\0")
    .filter((entry) => entry !== "")
    .map((entry) => entry.split("=")[0] ?? "");
  const foreign = names.filter((name) => !known.includes(name));
  return verified(
    foreign.length === 0,
    foreign.length === 0 ? "nothing inherited" : `inherited: ${foreign.join(", ")}`,
  );
}

/** The launcher and the sandbox's init hold their standard three, the control socket and the request; nothing else. */
export function descriptors(pids: readonly number[]): Control {
  const expected = new Set<number>([0, 1, 2, FD.control, FD.request]);
  const stray: string[] = [];
  for (const pid of pids) {
    for (const [fd, target] of readDescriptors(pid)) {
      // bubblewrap's init waits on an event descriptor and a signal descriptor: neither names a file.
      if (expected.has(fd) || /^anon_inode:\[(?:eventfd|signalfd)\]$/.test(target)) continue;
      if (target === "/dev/null") continue;
      stray.push(`${fd} ${target}`);
    }
  }
  return verified(
    stray.length === 0,
    stray.length === 0 ? "0 to 3 and the request" : `stray: ${stray.join(", ")}`,
  );
}
