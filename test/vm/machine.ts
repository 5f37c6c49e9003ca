import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { REPOSITORY, type VmHost } from "./host.ts";
import { buildInitramfs } from "./initramfs.ts";
import { type Job, jobScript } from "./jobs.ts";
import { parseResults, type Results } from "./results.ts";

/** How long the VM may run before it is ended, and how much of it may pass before its first job begins. */
const VM_MS_MAX = 230_000;
const BOOT_MS_MAX = 60_000;
/** How long the server of the host's files may take to start. */
const SERVE_MS_MAX = 10_000;
const MEMORY = "1536M";
const CONSOLE_CHARS_MAX = 3_000;

export interface VmReport extends Results {
  /** Whether any job began. */
  readonly begun: boolean;
  readonly wallMs: number;
  /** The end of what the kernel and the jobs wrote to the console. */
  readonly console: string;
}

/**
 * Boots Debian's cloud kernel under emulation, with this machine's files below a file system of its own, cgroup v2 as
 * the only hierarchy and AppArmor active; runs the jobs there, and is gone afterwards whatever happens.
 */
export async function runInVm(host: VmHost, jobs: readonly Job[]): Promise<VmReport> {
  const first = await boot(host, jobs);
  // An emulated kernel may hang before it has started anything of ours, which says nothing of the jobs: once more.
  return first.begun ? first : await boot(host, jobs);
}

async function boot(host: VmHost, jobs: readonly Job[]): Promise<VmReport> {
  const folder = mkdtempSync(join(tmpdir(), "callgate-vm-"));
  const started = performance.now();
  const children: ChildProcess[] = [];
  try {
    const job = { REPOSITORY, NODE: process.execPath, JOBS: jobScript(jobs) };
    const initramfs = buildInitramfs(host, folder, job);
    const socket = join(folder, "files.sock");
    children.push(await serveFiles(host, folder, socket));
    const qemu = spawn(host.qemu, qemuArguments(host, { folder, socket, initramfs }), { stdio: "ignore" });
    children.push(qemu);
    const exited = once(qemu, "exit");
    const results = (): string => readIfPresent(join(folder, "results"));
    await Promise.race([exited, sleep(BOOT_MS_MAX, undefined, { ref: false })]);
    const begun = results() !== "";
    if (begun) await Promise.race([exited, sleep(VM_MS_MAX - BOOT_MS_MAX, undefined, { ref: false })]);
    const wallMs = performance.now() - started;
    const said = readIfPresent(join(folder, "console")).slice(-CONSOLE_CHARS_MAX);
    return { ...parseResults(results()), begun, wallMs, console: said };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In a mount namespace of its own, where every mount of this machine is read-only. */
async function serveFiles(host: VmHost, folder: string, socket: string): Promise<ChildProcess> {
  const view = join(folder, "view");
  mkdirSync(view);
  const script = `mount --rbind / "$1"
    while read -r _ point _; do
      case $point in "$1"|"$1"/*) mount -o remount,bind,ro "$point" || umount -l "$point" ;; esac
    done </proc/mounts
    exec "$2" --socket-path="$3" -o source="$1" -o cache=always -o sandbox=chroot`;
  const args = ["-m", "--propagation", "private", "sh", "-ec", script, "serve", view, host.virtiofsd, socket];
  const child = spawn("unshare", args, { stdio: "ignore" });
  const deadline = performance.now() + SERVE_MS_MAX;
  while (!existsSync(socket) && child.exitCode === null && performance.now() < deadline) await sleep(10);
  return child;
}

function qemuArguments(
  host: VmHost,
  { folder, socket, initramfs }: Readonly<Record<"folder" | "socket" | "initramfs", string>>,
): readonly string[] {
  // Mitigations, vector units and the kernel's tests of its ciphers cost much under emulation, and protect nobody here.
  const kernel =
    "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests apparmor=1 security=apparmor cgroup_no_v1=all";
  return [
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...[
      "-machine",
      "q35,memory-backend=memory",
      "-accel",
      "tcg,thread=multi",
      "-cpu",
      "Nehalem,+rdrand",
      "-smp",
      "2",
    ],
    // The server of the files reads and writes the guest's memory (vhost-user).
    ...["-m", MEMORY, "-object", `memory-backend-memfd,id=memory,size=${MEMORY},share=on`],
    ...["-chardev", `socket,id=files,path=${socket}`],
    ...["-device", "vhost-user-fs-pci,chardev=files,tag=host"],
    ...["-kernel", host.kernel, "-initrd", initramfs, "-append", kernel],
    ...["-serial", `file:${join(folder, "console")}`, "-serial", `file:${join(folder, "results")}`],
  ];
}

function readIfPresent(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
