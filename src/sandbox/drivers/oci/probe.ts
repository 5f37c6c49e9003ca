import { spawn } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { GateError } from "../../../contract/errors.ts";
import { nativeProgram } from "../../native.ts";
import type { Runtime } from "./runtimes.ts";

const VERSION_MS_MAX = 10_000;

/** Programs of the host that a container is made with. */
export interface Programs {
  readonly runtime: string;
  /** `native/launch.c`: the first process of a container, in any root. */
  readonly launcher: string;
}

/** @returns the runtime's program, or undefined where it is not installed. */
export function findRuntime({ paths }: Runtime): string | undefined {
  return paths.find(isProgram);
}

/** @throws GateError `ERR_DRIVER_UNAVAILABLE` naming the first that is not here. */
export function requirePrograms(runtime: Runtime, path: string | undefined = findRuntime(runtime)): Programs {
  if (path === undefined || !isProgram(path)) {
    throw missing(`${runtime.name} is not installed`, `apt-get install ${runtime.package}`);
  }
  if (!existsSync("/usr/bin/perl")) throw missing("perl is not installed", "apt-get install perl-base");
  const launcher = nativeProgram("launch");
  if (launcher === undefined) {
    throw missing(
      "the native launcher was not built",
      "apt-get install gcc libc6-dev, then sh native/build.sh",
    );
  }
  return { runtime: path, launcher };
}

function missing(what: string, remedy: string): GateError {
  return new GateError("ERR_DRIVER_UNAVAILABLE", what, { remedy });
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first line that the runtime says of itself. */
export async function readVersion(program: string): Promise<string> {
  return await new Promise((done) => {
    const child = spawn(program, ["--version"], {
      stdio: ["ignore", "pipe", "ignore"],
      env: {},
      cwd: "/",
      timeout: VERSION_MS_MAX,
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk));
    child.on("error", (error) => done(error.message));
    child.on("close", () => done(output.split("\n")[0] ?? ""));
  });
}
