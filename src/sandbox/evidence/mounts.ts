import { existsSync } from "node:fs";
import type { Control } from "../../contract/execution.ts";
import type { MountPlan } from "../mounts.ts";
import { locate, type MountEntry, readMounts } from "../procfs.ts";
import { verified } from "./process.ts";

/**
 * Every planned mount is there, bound from where it should be and writable only as planned; no writable mount is
 * there that was not planned. The kernel's view inside is compared with this process's own view of the sources.
 */
export function mountsAsPlanned(
  seen: readonly MountEntry[],
  { mounts: planned, absent }: Pick<MountPlan, "mounts" | "absent">,
): Control {
  const host = readMounts("self");
  const wrong = absent
    .filter((path) => existsSync(path))
    .map((path) => `${path} has appeared and is not hidden`);
  for (const mount of planned) {
    const entry = seen.findLast((candidate) => candidate.point === mount.point);
    if (entry === undefined) wrong.push(`${mount.point} is not mounted`);
    else if (entry.writable && !mount.writable) wrong.push(`${mount.point} is writable`);
    else if (mount.source !== undefined) {
      const source = locate(mount.source, host);
      if (source?.device !== entry.device || source.root !== entry.root)
        wrong.push(`${mount.point} is another folder`);
    }
  }
  const ofPlan = new Map(planned.map((mount) => [mount.point, mount]));
  for (const { point, type } of seen) {
    // Ours are made for the sandbox, or are the null device over a hidden file: neither has a source.
    const mount = ofPlan.get(point);
    const ours = /^\/(?:proc|dev)(?:\/|$)/.test(point) || (mount !== undefined && mount.source === undefined);
    if (!ours && KERNEL_FILE_SYSTEMS.has(type)) wrong.push(`${point} is the host's ${type}`);
  }
  const writable = planned.filter((mount) => mount.writable).map((mount) => mount.point);
  for (const entry of seen) {
    if (!entry.writable || isKernelDevice(entry.point)) continue;
    const inside = writable.some((point) => entry.point === point || entry.point.startsWith(`${point}/`));
    if (!inside) wrong.push(`${entry.point} is writable and was not planned`);
  }
  const count = `${seen.length} mounts, writable: ${writable.join(", ")}`;
  return verified(wrong.length === 0, wrong.length === 0 ? count : wrong.join("; "));
}

/** Interfaces to the host's kernel: one that lies below a granted folder comes in with it, and is never meant. */
const KERNEL_FILE_SYSTEMS: ReadonlySet<string> = new Set(
  "proc sysfs cgroup cgroup2 devtmpfs devpts debugfs tracefs securityfs bpf configfs mqueue pstore efivarfs".split(
    " ",
  ),
);

/** The device nodes that bubblewrap binds one by one. */
function isKernelDevice(point: string): boolean {
  return /^\/dev\/(?:null|zero|full|random|urandom|tty|pts|console)$/.test(point);
}
