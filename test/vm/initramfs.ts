import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { VmHost } from "./host.ts";

/** What the VM cannot reach its files without. */
const MODULES = ["virtio_pci", "virtiofs", "overlay"];

/**
 * The small first file system: busybox, the modules that reach the host's files, and the job.
 * @param job variables for the shell.
 * @returns the path of the archive (initramfs buffer format, "newc").
 */
export function buildInitramfs(host: VmHost, folder: string, job: Readonly<Record<string, string>>): string {
  const root = join(folder, "initramfs");
  for (const name of ["bin", "modules"]) mkdirSync(join(root, name), { recursive: true });
  copyFileSync(host.busybox, join(root, "bin/busybox"));
  copyFileSync(join(import.meta.dirname, "init.sh"), join(root, "init"));
  for (const name of ["bin/busybox", "init"]) chmodSync(join(root, name), 0o755);
  const modules = inOrder(host.modules, MODULES);
  for (const path of modules) copyFileSync(path, join(root, "modules", basename(path)));
  const names = modules.map((path) => basename(path, ".ko")).join(" ");
  writeFileSync(join(root, "job"), shellVariables({ ...job, MODULES: names }));
  const files = globSync("**", { cwd: root }).sort();
  const archive = execFileSync(host.busybox, ["cpio", "-o", "-H", "newc"], {
    cwd: root,
    input: files.map((file) => `${file}\n`).join(""),
    maxBuffer: 64 * 1024 * 1024,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const path = join(folder, "initramfs.cpio");
  writeFileSync(path, archive);
  return path;
}

/** Modules after those that they depend on, as each says in its `.modinfo` section. */
function inOrder(folder: string, wanted: readonly string[]): readonly string[] {
  const paths = new Map(
    globSync("**/*.ko", { cwd: folder }).map((path) => [nameOf(path), join(folder, path)]),
  );
  const ordered = new Set<string>();
  const add = (name: string): void => {
    const path = paths.get(name);
    if (path === undefined || ordered.has(path)) return; // built in
    const depends = /\0depends=([^\0]*)\0/.exec(readFileSync(path, "latin1"))?.[1] ?? "";
    for (const other of depends.split(",").filter((one) => one !== "")) add(other);
    ordered.add(path);
  };
  for (const name of wanted) add(name);
  return [...ordered];
}

function nameOf(path: string): string {
  return basename(path, ".ko").replaceAll("-", "_");
}

function shellVariables(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}='${value.replaceAll("'", "'\\''")}'\n`)
    .join("");
}
