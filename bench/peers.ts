// The same command, `true`, launched the ways people launch it.
import { spawn, spawnSync } from "node:child_process";
import { chownSync, cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { snapshotProject } from "../src/config/snapshot.ts";
import { trustProject } from "../src/config/trust.ts";
import { DEFAULT_LIMITS } from "../src/contract/profile.ts";
import { planBubblewrap } from "../src/sandbox/drivers/bubblewrap/plan.ts";
import { buildProfile } from "../src/sandbox/grants.ts";
import { readHostLayout } from "../src/sandbox/host.ts";
import { ROOT_STANDS_BACK, sandboxUser } from "../src/sandbox/user.ts";

export interface Place {
  /** A temporary folder, open to everybody. */
  readonly base: string;
  readonly workspace: string;
}

/** A workspace that belongs to whoever sandboxes run as. */
export function makeWorkspace(base: string): Place {
  const workspace = join(base, "workspace");
  mkdirSync(workspace, { recursive: true });
  if (process.geteuid?.() === 0) chownSync(workspace, ROOT_STANDS_BACK.uid, ROOT_STANDS_BACK.gid);
  return { base, workspace };
}

export function finished(command: string, args: readonly string[], options: object = {}): Promise<void> {
  return new Promise((done, fail) => {
    let complaint = "";
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], ...options });
    child.stderr?.on("data", (chunk: Buffer) => (complaint += chunk));
    child.on("error", fail).on("close", (code) => {
      if (code === 0) done();
      else fail(new Error(`${command} exited with ${code}: ${complaint.trim()}`));
    });
  });
}

export function bwrapCommand({ workspace }: Place): () => Promise<void> {
  const args = bareArguments(workspace);
  const identity = process.geteuid?.() === 0 ? sandboxUser(workspace) : {};
  return () => finished("/usr/bin/bwrap", args, { env: {}, cwd: "/", ...identity });
}

/** The same namespaces and mounts as the gate's plan; no launcher, no seccomp, nothing read, nothing recorded. */
function bareArguments(workspace: string): readonly string[] {
  const profile = buildProfile({
    isolation: "process",
    root: { from: "host" },
    files: { read: [workspace], write: [], hide: [] },
    environment: {},
    workspace,
    limits: DEFAULT_LIMITS,
    treeLimits: false,
    ownHidden: [],
    ownProtected: [],
    home: "/nonexistent",
  });
  const { args } = planBubblewrap(profile, {
    host: readHostLayout(),
    kindOf: () => "absent",
    standIns: new Set(),
    enforced: new Set(),
    native: false,
  });
  const bare: string[] = [];
  for (let i = 0; args[i] !== "--"; i += 1) {
    if (args[i] === "--perms" && args[i + 2] === "--file") i += 4;
    else if (args[i] === "--info-fd" || args[i] === "--seccomp") i += 1;
    else bare.push(args[i] ?? "");
  }
  return [...bare, "--", "/usr/bin/true"];
}

function isInstalled(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
}

/** A bundle as `runc spec` makes it, over the host's /usr; undefined where the runtime is absent. */
export function ociRun(runtime: "runc" | "runsc", { base }: Place): (() => Promise<void>) | undefined {
  if (!isInstalled(runtime)) return undefined;
  const bundle = join(base, `bundle-${runtime}`);
  const root = join(bundle, "rootfs");
  for (const folder of ["usr", "proc", "dev", "tmp", "etc", "sys"])
    mkdirSync(join(root, folder), { recursive: true });
  for (const name of ["bin", "lib", "lib64", "sbin"])
    if (existsSync(`/usr/${name}`)) symlinkSync(`usr/${name}`, join(root, name));
  const made = spawnSync(runtime, ["spec"], { cwd: bundle, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`${runtime} spec failed: ${made.stderr}`);
  const spec = JSON.parse(spawnSync("cat", [join(bundle, "config.json")], { encoding: "utf8" }).stdout);
  spec.process.terminal = false;
  spec.process.args = ["/usr/bin/true"];
  spec.root.readonly = true;
  spec.mounts.push({ destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"] });
  writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
  const flags = runtime === "runsc" ? ["--network=none", "--ignore-cgroups"] : [];
  let made_ = 0;
  return () => {
    made_ += 1;
    const name = `callgate-bench-${process.pid}-${made_}`;
    return finished(runtime, [
      "--root",
      join(base, `run-${runtime}`),
      ...flags,
      "run",
      "--bundle",
      bundle,
      name,
    ]);
  };
}

/** The npm package that people use to put a command in a sandbox, installed into a folder of its own. */
export function srtRun(place: Place): (() => Promise<void>) | undefined {
  const cli = installSrt(place);
  return cli === undefined
    ? undefined
    : () => finished(process.execPath, [cli, "--", "true"], { cwd: place.workspace });
}

/** @returns the path of its command, or undefined where it could not be installed */
export function installSrt({ base }: Place): string | undefined {
  const folder = join(base, "srt");
  mkdirSync(folder);
  const installed = spawnSync(
    "npm",
    [
      "install",
      "--silent",
      "--no-audit",
      "--no-fund",
      "--prefix",
      folder,
      "@anthropic-ai/sandbox-runtime@0.0.78",
    ],
    { encoding: "utf8" },
  );
  const cli = join(folder, "node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js");
  if (installed.status !== 0 || !existsSync(cli)) {
    console.error(`srt is left out: it could not be installed: ${installed.stderr.trim()}`);
    return undefined;
  }
  return cli;
}

/** The package as it is published, installed into an empty folder. @returns the path of its command. */
export function installCallgate({ base }: Place): string {
  const root = join(import.meta.dirname, "..");
  const packed = spawnSync("npm", ["pack", "--silent", "--pack-destination", base, root], {
    encoding: "utf8",
    cwd: root,
  });
  const tarball = join(base, packed.stdout.trim().split("\n").at(-1) ?? "");
  if (packed.status !== 0 || !existsSync(tarball)) throw new Error(`npm pack failed: ${packed.stderr}`);
  const target = join(base, "installed");
  mkdirSync(target);
  const installed = spawnSync(
    "npm",
    ["install", "--silent", "--no-audit", "--no-fund", "--prefix", target, tarball],
    { encoding: "utf8" },
  );
  if (installed.status !== 0) throw new Error(`npm install failed: ${installed.stderr}`);
  const packageFolder = join(target, "node_modules/callgate");
  // npm installs a tarball's files as they are; the native launcher is among them where it was built.
  if (!existsSync(join(packageFolder, "native/bin")))
    cpSync(join(root, "native/bin"), join(packageFolder, "native/bin"), { recursive: true });
  return join(packageFolder, "bin/callgate.js");
}

/** Puts a configuration in force, as `callgate trust` does. */
export function trusted(workspace: string, state: string, configuration: string): void {
  writeFileSync(join(workspace, "callgate.yaml"), configuration);
  mkdirSync(state, { recursive: true, mode: 0o700 });
  trustProject(snapshotProject(workspace, "callgate.yaml"), state);
}
