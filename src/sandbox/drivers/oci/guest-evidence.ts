import { readFileSync } from "node:fs";
import { release } from "node:os";
import type { Control, Controls } from "../../../contract/execution.ts";
import type { Dialogue, InsideReport } from "../../dialogue.ts";
import { mountsAsPlanned } from "../../evidence/mounts.ts";
import { guardedNetwork } from "../../evidence/network.ts";
import { landlock, namespaces, network, probed } from "../../evidence/process.ts";
import { FD } from "../../launcher.ts";
import { readChildren, readMounts, readStatus } from "../../procfs.ts";
import type { Expected } from "./evidence.ts";

/** What gVisor answers to uname(2), whatever the host is (pkg/sentry/syscalls/linux: LinuxRelease). */
const GUEST_KERNEL = /^4\.4\.0 /;
/**
 * In user namespaces of their own, behind filters: ids of files and a change of root for the gofer (0x4001f); for the
 * sentry ids of files and the stubs' registers (0x8001f), or, where the gofer does all file access, what it set its own
 * root up with (0x240100). Nothing of the host's.
 */
const SERVANT_CAPABILITIES = 0x4_001fn | 0x8_001fn | 0x24_0100n;
/** A wider surface than a stack of its own, which the host could not listen in. */
const HOST_SOCKETS = "; the sentry makes the guest's sockets in it, by calls of the host's";
/** A guest has no view of the host's cgroups at all. */
const SERVANT_NAMESPACES = ["user", "mnt", "pid", "net", "ipc", "uts"] as const;

type Status = ReadonlyMap<string, string>;

/** The host's processes that stand between a guest and the kernel. */
interface Servants {
  readonly sentry: number;
  readonly gofer: number;
  readonly statuses: readonly Status[];
}

/**
 * What is true of a waiting guest. The host's kernel says how the sentry and the gofer are confined, and what is mounted
 * for the gofer; what holds between the guest and the sentry was tried inside, and reads `probed`.
 */
export function readGuestEvidence(runtime: number, dialogue: Dialogue, expected: Expected): Controls {
  const servants = findServants(runtime);
  const { inside } = dialogue;
  return {
    namespaces: kinds(servants, inside),
    seccomp: seccomp(servants, dialogue, expected),
    no_new_privs: noNewPrivs(servants, inside),
    capabilities: capabilities(servants, inside),
    read_only_root: readOnlyRoot(inside),
    user: user(servants, inside, expected),
    lsm: landlock(dialogue.landlock),
    ...expected.limits.evidence(servants.sentry),
    network:
      expected.network === undefined
        ? network(servants.sentry)
        : guardedNetwork(servants.sentry, expected.network, HOST_SOCKETS),
    environment: environment(inside),
    mounts: mountsAsPlanned(readMounts(servants.gofer), expected.plan),
    descriptors: descriptors(inside),
  };
}

/** By the name that runsc gives its own children; a guest's processes are not the host's. */
function findServants(runtime: number): Servants {
  const named = (name: string): number =>
    readChildren(runtime).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`${name}\0`),
    ) ?? 0;
  const [sentry, gofer] = [named("runsc-sandbox"), named("runsc-gofer")];
  return { sentry, gofer, statuses: [sentry, gofer].map(readStatus) };
}

function kinds({ sentry, gofer }: Servants, { facts }: InsideReport): Control {
  const kernel = facts.get("kernel") ?? "";
  const own = [sentry, gofer].map((pid) => namespaces(pid, SERVANT_NAMESPACES));
  const apart = own.every((control) => control.state === "enforced");
  const isGuest = GUEST_KERNEL.test(kernel) && !release().startsWith("4.4.0");
  return probed(
    apart && isGuest,
    `guest kernel ${kernel.split(" ")[0]}, host ${release()}; sentry: ${own[0]?.evidence}`,
  );
}

function seccomp(
  { statuses }: Servants,
  { canaryErrno, inside }: Dialogue,
  { seccomp: asked }: Expected,
): Control {
  const modes = statuses.map((status) => status.get("Seccomp"));
  const guest = inside.facts.get("Seccomp");
  return probed(
    modes.every((mode) => mode === "2") && guest === "2" && canaryErrno === asked.canaryErrno,
    `inside mode ${guest}, canary ${canaryErrno} of ${asked.canaryErrno}, profile ${asked.digest}; sentry and gofer mode ${modes.join(", ")}`,
  );
}

function noNewPrivs({ statuses }: Servants, { facts }: InsideReport): Control {
  const outside = statuses.map((status) => status.get("NoNewPrivs"));
  return probed(
    outside.every((value) => value === "1") && facts.get("nnp") === "1",
    `sentry and gofer ${outside.join(", ")}; inside ${facts.get("nnp")}`,
  );
}

function capabilities({ statuses }: Servants, { facts }: InsideReport): Control {
  const inside = ["CapInh", "CapPrm", "CapEff", "CapBnd"].map((name) => facts.get(name) ?? "?");
  const outside = statuses.map((status) => BigInt(`0x${status.get("CapEff") ?? "ffffffffffffffff"}`));
  const few = outside.every((held) => (held & ~SERVANT_CAPABILITIES) === 0n);
  return probed(
    few && inside.every((value) => /^0+$/.test(value)),
    `inside ${inside.map((value) => value.replace(/^0+(?=.)/, "")).join(" ")}; sentry and gofer, in user namespaces of their own: ${outside.map((held) => held.toString(16)).join(", ")}`,
  );
}

function readOnlyRoot({ mounts }: InsideReport): Control {
  const options = mounts.map((line) => line.split(" ")).find(([, point]) => point === "/")?.[3] ?? "";
  const isReadOnly = options.split(",").includes("ro");
  return probed(isReadOnly, `inside / is ${isReadOnly ? "read-only" : "writable"}`);
}

function user({ statuses }: Servants, { facts }: InsideReport, { identity }: Expected): Control {
  const asked = identity.runtime ?? identity.user;
  const ids = statuses.flatMap((status) => (status.get("Uid") ?? "").split(/\s+/).map(Number));
  const { uid, gid } = identity.inside;
  const isInside = facts.get("uid") === `${uid} ${uid} ${gid} ${gid}`;
  return probed(
    isInside && ids.length === 8 && ids.every((id) => id === asked.uid && id !== 0),
    `sentry and gofer host uid ${[...new Set(ids)].join(", ")}; inside ${facts.get("uid")}`,
  );
}

function environment({ facts }: InsideReport): Control {
  const names = (facts.get("variables") ?? "?").split(" ").filter((name) => name !== "");
  const foreign = names.filter((name) => name !== "HOME");
  return probed(
    foreign.length === 0,
    foreign.length === 0 ? "nothing inherited" : `inherited: ${foreign.join(", ")}`,
  );
}

function descriptors({ facts }: InsideReport): Control {
  const expected = new Set([0, 1, 2, FD.control, FD.request]);
  const held = (facts.get("descriptors") ?? "-1").split(" ").map(Number);
  const stray = held.filter((fd) => !expected.has(fd));
  return probed(
    stray.length === 0,
    stray.length === 0 ? `inside ${held.join(", ")}` : `stray: ${stray.join(", ")}`,
  );
}
