import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The fields of `/proc/PID/status`, by name. */
export function readStatus(pid: number | "self"): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of readFileSync(`/proc/${pid}/status`, "utf8").split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return fields;
}

/** One line of `/proc/PID/mountinfo` (proc(5)). */
export interface MountEntry {
  /** `major:minor` of the file system. */
  readonly device: string;
  /** The folder of that file system which is mounted. */
  readonly root: string;
  readonly point: string;
  readonly writable: boolean;
  /** `ext4`, `tmpfs`, `proc` and so on. */
  readonly type: string;
}

export function readMounts(pid: number | "self"): readonly MountEntry[] {
  return parseMountinfo(readFileSync(`/proc/${pid}/mountinfo`, "utf8"));
}

export function parseMountinfo(text: string): readonly MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const [, , device, root, point, options] = line.split(" ");
    if (device === undefined || root === undefined || point === undefined || options === undefined) continue;
    const writable = options.split(",").includes("rw");
    const type = line.slice(line.indexOf(" - ") + 3).split(" ")[0] ?? "";
    entries.push({ device, root: unescapeMount(root), point: unescapeMount(point), writable, type });
  }
  return entries;
}

/** The kernel writes space, tab, newline and backslash as octal. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Where `path` lies: its file system, and its place in it. The last mount over a point is the one that is seen. */
export function locate(
  path: string,
  mounts: readonly MountEntry[],
): { readonly device: string; readonly root: string } | undefined {
  let best: MountEntry | undefined;
  for (const mount of mounts) {
    const holds = mount.point === "/" || path === mount.point || path.startsWith(`${mount.point}/`);
    if (holds && (best === undefined || mount.point.length >= best.point.length)) best = mount;
  }
  if (best === undefined) return undefined;
  const below = best.point === "/" ? path : path.slice(best.point.length);
  return {
    device: best.device,
    root: best.root === "/" ? below || "/" : `${best.root}${below === "/" ? "" : below}`,
  };
}

/** Descriptor numbers and what they stand for. */
export function readDescriptors(pid: number | "self"): ReadonlyMap<number, string> {
  const open = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      open.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // the descriptor that read the folder is gone again
    }
  }
  return open;
}

/** Of every thread: the kernel counts a child to the one that started it. */
export function readChildren(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) => {
    const text = readIfThere(`/proc/${pid}/task/${task}/children`).trim();
    return text === "" ? [] : text.split(/\s+/).map(Number);
  });
}

/** Whether some process has this pid now. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A thread may be gone before it is read. */
function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Kills that very process; one that ended between the look and the signal is as good as killed. */
export function killProcess(pid: number, startTicks: string): void {
  if (hasEnded(pid, startTicks)) return;
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** When a process started, in clock ticks since boot: with the pid it names one process for good. */
export function readStartTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

/** Whether that process is gone, or a zombie: a namespace's first process is one only after all others are gone. */
export function hasEnded(pid: number, startTicks: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[19] !== startTicks || fields[0] === "Z" || fields[0] === "X";
  } catch {
    return true;
  }
}

/**
 * Descriptors above 2 that a child would inherit: those this process was itself started with. libuv opens all of
 * its own close-on-exec, and closes none that it did not open.
 */
export function strayDescriptors(): readonly number[] {
  const stray: number[] = [];
  for (const fd of readDescriptors("self").keys()) {
    if (fd <= 2) continue;
    try {
      const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
      if ((Number.parseInt(flags, 8) & 0o2000000) === 0) stray.push(fd);
    } catch {
      // closed meanwhile
    }
  }
  return stray;
}
