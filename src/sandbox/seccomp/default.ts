import { type Digest, digestOf } from "../../contract/ids.ts";
import { CANARY_ERRNO, PROFILE_JSON, PROGRAMS } from "./default-program.ts";
import type { SeccompArch, SeccompProfile } from "./profile.ts";

export interface DefaultSeccomp {
  /** For `bwrap --seccomp`: `struct sock_filter[]`. */
  readonly program: Uint8Array;
  /** Of `program`. */
  readonly digest: Digest;
  /** What `kill(CANARY_PID, 0)` answers where this is loaded, and where it is not ESRCH. */
  readonly canaryErrno: number;
  /** The same for drivers that take OCI JSON, canary included. Parsed when read. */
  readonly profile: SeccompProfile;
}

const OCI_NAMES: Readonly<Record<SeccompArch, string>> = {
  "x86-64": "SCMP_ARCH_X86_64",
  arm64: "SCMP_ARCH_AARCH64",
};

/** The filter of every sandbox: the default profile with its canary, compiled ahead. */
export function defaultSeccomp(arch: SeccompArch): DefaultSeccomp {
  const program = new Uint8Array(Buffer.from(PROGRAMS[arch], "base64"));
  return {
    program,
    digest: digestOf(program),
    canaryErrno: CANARY_ERRNO,
    get profile(): SeccompProfile {
      // Our own text, held to the profile by a test, so it needs no parsing beyond JSON's.
      return { architectures: [OCI_NAMES[arch]], ...(JSON.parse(PROFILE_JSON) as SeccompProfile) };
    },
  };
}

/**
 * What Node's `process.arch` is called here.
 *
 * @returns undefined where no program can be compiled.
 */
export function seccompArch(nodeArch: string): SeccompArch | undefined {
  if (nodeArch === "x64") return "x86-64";
  return nodeArch === "arm64" ? "arm64" : undefined;
}
