import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import type { Diagnosis } from "../../driver.ts";
import type { HostUser } from "../../user.ts";

const BWRAP = "/usr/bin/bwrap";
const PROBE_MS_MAX = 5_000;

/** Runs a small sandbox for real: a version number does not say that user namespaces are allowed. */
export async function probeBubblewrap(user: HostUser): Promise<Diagnosis> {
  if (!existsSync(BWRAP)) {
    return { usable: false, detail: "bubblewrap is not installed", remedy: "apt-get install bubblewrap" };
  }
  if (!existsSync("/usr/bin/bash")) {
    return { usable: false, detail: "bash is not installed", remedy: "apt-get install bash" };
  }
  if (process.geteuid?.() === 0 && !existsSync("/usr/bin/perl")) {
    return {
      usable: false,
      detail: "perl is not installed, which root needs",
      remedy: "apt-get install perl-base",
    };
  }
  const version = await run(BWRAP, ["--version"], user);
  const trial = await run(
    BWRAP,
    [
      "--unshare-all",
      "--unshare-user",
      "--disable-userns",
      "--ro-bind",
      "/",
      "/",
      "--proc",
      "/proc",
      "--dev",
      "/dev",
      "/usr/bin/true",
    ],
    user,
  );
  if (trial.code === 0) return { usable: true, detail: `${version.output.trim()} at ${BWRAP}` };
  return {
    usable: false,
    detail: trial.output.trim() || "a trial sandbox failed",
    remedy: remedyFor(trial.output),
  };
}

function remedyFor(output: string): string {
  if (readKnob("/proc/sys/user/max_user_namespaces") === "0")
    return "sysctl -w user.max_user_namespaces=15000";
  if (readKnob("/proc/sys/kernel/unprivileged_userns_clone") === "0")
    return "sysctl -w kernel.unprivileged_userns_clone=1";
  if (readKnob("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") === "1") {
    return "AppArmor restricts user namespaces here: load a profile for /usr/bin/bwrap that has `userns,` (Ubuntu 24.04)";
  }
  if (output.includes("--disable-userns")) return "install bubblewrap 0.8 or newer";
  return "run where user namespaces and a fresh /proc are allowed; a container needs --security-opt seccomp=unconfined or userns support";
}

function readKnob(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined; // this kernel has no such knob
  }
}

async function run(
  command: string,
  args: readonly string[],
  user: HostUser,
): Promise<{ code: number | null; output: string }> {
  const identity = process.geteuid?.() === 0 ? user : {};
  return await new Promise((done) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {},
      cwd: "/",
      timeout: PROBE_MS_MAX,
      ...identity,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk));
    child.on("error", (error) => done({ code: null, output: error.message }));
    child.on("close", (code) => done({ code, output }));
  });
}
