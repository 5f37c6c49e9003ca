import type { IsolationClass } from "../../../contract/tier.ts";
import { STAGED } from "./builder.ts";

/** In the order in which they are preferred within a class. */
export const RUNTIME_NAMES = ["runc", "crun", "runsc"] as const;
export type RuntimeName = (typeof RUNTIME_NAMES)[number];

/** How one OCI runtime differs from the others. */
export interface Runtime {
  readonly name: RuntimeName;
  readonly isolation: IsolationClass;
  /** Where Debian installs it. */
  readonly paths: readonly string[];
  readonly package: string;
  /** Tasks of its own that live beside a tool's in the limit group: builder, runtime, and what it starts. */
  readonly tasks: number;
  /** Host tasks that stand for one of the tool's. */
  readonly tasksPerProcess: number;
  /** Memory of its own in the limit group, beside the tool's. */
  readonly memoryBytes: number;
  /** The tool's system calls reach another kernel than the host's. */
  readonly ownKernel: boolean;
  /** The command that runs the staged bundle, with descriptors 3 to 5 handed on. */
  command(program: string, id: string): readonly string[];
}

const MIB = 1024 * 1024;

const native = (name: "runc" | "crun", ownTasks: number): Runtime => ({
  name,
  isolation: "process",
  paths: [`/usr/sbin/${name}`, `/usr/bin/${name}`, `/usr/local/sbin/${name}`, `/usr/local/bin/${name}`],
  package: name,
  tasks: ownTasks,
  tasksPerProcess: 1,
  memoryBytes: 32 * MIB,
  ownKernel: false,
  command: (program, id) => [
    program,
    "--root",
    STAGED.state,
    "run",
    "--bundle",
    STAGED.bundle,
    "--preserve-fds",
    "3",
    id,
  ],
});

/** gVisor: sentry and gofer are Go programs, and systrap keeps stub processes for what the tool runs. */
const RUNSC: Runtime = {
  name: "runsc",
  isolation: "gvisor",
  paths: ["/usr/bin/runsc", "/usr/local/bin/runsc"],
  package: "runsc",
  tasks: 96,
  tasksPerProcess: 4,
  memoryBytes: 128 * MIB,
  ownKernel: true,
  command: (program, id) => [
    program,
    ...["--root", STAGED.state, "--rootless", "--ignore-cgroups", "--network=none", "--platform=systrap"],
    // Without it the profile's seccomp section is ignored.
    ...["--oci-seccomp", "--overlay2=none", "--host-uds=none", "--host-fifo=open"],
    ...["run", "--bundle", STAGED.bundle, "--pass-fd", "3:3", "--pass-fd", "5:5", id],
  ],
};

export const RUNTIMES: Readonly<Record<RuntimeName, Runtime>> = {
  runc: native("runc", 24),
  crun: native("crun", 6),
  runsc: RUNSC,
};
