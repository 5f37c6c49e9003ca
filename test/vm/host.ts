import { existsSync, globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

export const REPOSITORY: string = resolve(import.meta.dirname, "../..");
/** Where the set-up unpacks Debian's cloud kernel. */
const KERNEL_FOLDER = join(REPOSITORY, "node_modules/.callgate-vm");
/** Debian 12 has it with QEMU, later versions in a package of its own. */
const VIRTIOFSD = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];

/** What the VM is started with. */
export interface VmHost {
  readonly qemu: string;
  readonly virtiofsd: string;
  readonly busybox: string;
  readonly kernel: string;
  /** The folder of kernel modules. */
  readonly modules: string;
}

/** What this machine has for it, or the reason why no VM can be started. */
export function findVmHost(): VmHost | string {
  if (process.arch !== "x64") return "the test VM is for x86-64";
  if (process.geteuid?.() !== 0) return "only root can show the VM this machine's files read-only";
  const [kernel] = globSync(join(KERNEL_FOLDER, "boot/vmlinuz-*"));
  const [modules] = globSync(join(KERNEL_FOLDER, "lib/modules/*/kernel"));
  const virtiofsd = VIRTIOFSD.find((path) => existsSync(path));
  const host = { qemu: "/usr/bin/qemu-system-x86_64", busybox: "/bin/busybox", kernel, modules, virtiofsd };
  for (const [name, path] of Object.entries(host)) {
    if (path === undefined || !existsSync(path))
      return `there is no ${name} (\`npm test\` sets it up on Debian)`;
  }
  if (readFileSync(host.busybox).includes("/ld-linux")) return "busybox is not the static one";
  return host as VmHost;
}
