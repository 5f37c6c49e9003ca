import type { IsolationClass } from "../../../contract/tier.ts";
import { type DriverSupport, verifiedBut } from "../../driver.ts";
import { STAGED } from "./builder.ts";

/** In the order in which they are preferred within a class. */
export const RUNTIME_NAMES = ["runc", "crun", "runsc"] as const;
export type RuntimeName = (typeof RUNTIME_NAMES)[number];

/** What of a profile a runtime's own options depend on. */
export interface RuntimeAsked {
  readonly writes: boolean;
  /** It is started in a network that its container shares. */
  readonly joinsNetwork: boolean;
}

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
  readonly evidence: DriverSupport["evidence"];
  /** The command that runs the staged bundle, with descriptors 3 to 5 handed on. */
  command(program: string, asked: RuntimeAsked): readonly string[];
}

/** Unique where it is looked up: in a folder that this sandbox alone sees. */
const ID = "callgate";
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
  // An AppArmor label, where the host has ours loaded, is verified.
  evidence: verifiedBut({ lsm: "probed" }),
  command: (program) => [
    program,
    "--root",
    STAGED.state,
    "run",
    "--bundle",
    STAGED.bundle,
    "--preserve-fds",
    "3",
    ID,
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
  // What only the guest's kernel knows is asked inside.
  evidence: verifiedBut({
    namespaces: "probed",
    seccomp: "probed",
    no_new_privs: "probed",
    user: "probed",
    capabilities: "probed",
    read_only_root: "probed",
    environment: "probed",
    descriptors: "probed",
    lsm: "none",
  }),
  command: (program, { writes, joinsNetwork }) => [
    program,
    ...["--root", STAGED.state, "--rootless", "--ignore-cgroups", "--platform=systrap"],
    // In a network of the gate's the sentry makes the guest's sockets by calls of the host's.
    `--network=${joinsNetwork ? "host" : "none"}`,
    // Without it the profile's seccomp section is ignored.
    ...["--oci-seccomp", "--overlay2=none", "--host-uds=none", "--host-fifo=none"],
    // Its own file access is faster, and comes from the sentry's mount namespace, where nothing is mounted: the kernel
    // lets it remove what has a protection mounted over it for the gofer only (fs/namei.c, `is_local_mountpoint`).
    ...(writes ? ["--directfs=false"] : []),
    ...["run", "--bundle", STAGED.bundle, "--pass-fd", "3:3", "--pass-fd", "5:5", ID],
  ],
};

export const RUNTIMES: Readonly<Record<RuntimeName, Runtime>> = {
  runc: native("runc", 24),
  crun: native("crun", 6),
  runsc: RUNSC,
};
