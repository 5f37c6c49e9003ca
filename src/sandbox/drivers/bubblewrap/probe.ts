import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { usernsCures } from "../../cure.ts";
import type { Diagnosis } from "../../driver.ts";
import { readHostFacts } from "../../host-facts.ts";
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
  const [cure] = usernsCures(readHostFacts());
  if (cure !== undefined) return cure.where === undefined ? cure.command : `${cure.where}: ${cure.command}`;
  if (output.includes("--disable-userns")) return "install bubblewrap 0.8 or newer";
  return "run where user namespaces and a fresh /proc are allowed";
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
