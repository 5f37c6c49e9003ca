import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { GateError } from "../../contract/errors.ts";
import type { Denial, ObservedFiles } from "../../contract/execution.ts";
import { within } from "../deadline.ts";
import type { StartFailure } from "../dialogue.ts";
import type { HostUser } from "../user.ts";
import { defaultSeccomp } from "./default.ts";
import { SyscallTally } from "./explain.ts";
import { explainPrograms } from "./explain-program.ts";
import { decodeProgram, runProgram, type SeccompData } from "./interpret.ts";
import { EPERM, PERL, PR_SET_PDEATHSIG, STAGE_EXITS, stagedRequest } from "./notify-stage.ts";
import type { SeccompArch } from "./profile.ts";
import { RET, syscallNumber } from "./resolve.ts";

/** How long the supervisor may take to be there. */
const START_MS_MAX = 5_000;

/**
 * Runs outside, as the sandbox's user: takes the listener from the waiting stage (pidfd_getfd(2)) and then passes on
 * each call it is asked about and answers with the errno it is given. seccomp_unotify(2); struct seccomp_notif has 80
 * bytes, its answer 24. The answer's flags are always 0: nothing is ever told to go on.
 */
const SUPERVISOR = `
$| = 1;
my ($pid, $gateway, $prctl) = map { $_ + 0 } @ARGV;
syscall($prctl, ${PR_SET_PDEATHSIG}, 9, 0, 0, 0) == 0 && getppid == $gateway or die "the gateway is gone\\n";
my $process = syscall 434, $pid, 0;
$process >= 0 or die "pidfd_open: $!\\n";
print "ready\\n";
my $taken;
until (defined $taken) {
  opendir my $folder, "/proc/$pid/fd" or die "descriptors: $!\\n";
  for my $fd (readdir $folder) {
    next unless (readlink("/proc/$pid/fd/$fd") // '') eq 'anon_inode:seccomp notify';
    $taken = syscall 438, $process, $fd + 0, 0;
    $taken >= 0 or die "pidfd_getfd: $!\\n";
  }
  select undef, undef, undef, 0.001 unless defined $taken;
}
open my $listener, '+<&=', $taken or die "listener: $!\\n";
for (;;) {
  my $call = "\\0" x 80;
  unless (ioctl $listener, 0xc0502100, $call) { select undef, undef, undef, 0.001; next }
  my ($id, $thread, $flags, $number, $arch, $at, @arguments) = unpack 'Q L L L L Q Q6', $call;
  print join(' ', $number, $arch, @arguments), "\\n";
  defined(my $errno = <STDIN>) or exit;
  my $answer = pack 'Q q l L', $id, 0, -$errno, 0;
  ioctl $listener, 0xc0182101, $answer;
}
`;

/** A sandbox of which is told what its system calls were: those refused, or the files they name. */
export interface Explanation {
  /** What the launcher is given instead of the tool. @see encodeRequest */
  request(environment: Readonly<Record<string, string>>, argv: readonly string[]): Uint8Array;
  /** What was refused so far. `exitCode`: of the tool. */
  denials(exitCode: number | null): readonly Denial[];
  /** Of a stage that ended before the tool was there, which the tool cannot feign: nothing of it had run. */
  startFailure(exitCode: number | null): StartFailure | undefined;
  /** Of an observing run, once nothing in it lives any more. Asked once; never throws. */
  observed?(): Promise<ObservedFiles>;
  close(): void;
}

/** @throws GateError `ERR_CONTROL_UNAVAILABLE` where a run cannot be explained. */
export function requireExplainable(): void {
  if (existsSync(PERL)) return;
  throw new GateError("ERR_CONTROL_UNAVAILABLE", "explaining system calls needs perl, which is not here", {
    remedy: "apt-get install perl-base, or run it without `--explain-seccomp`",
  });
}

/**
 * Starts the supervisor of a waiting launcher that has the outer program of `explainPrograms` loaded.
 * @param pid the launcher's, on the host
 * @throws GateError `ERR_SANDBOX_START` when it cannot watch.
 */
export async function explainSyscalls(pid: number, user: HostUser, arch: SeccompArch): Promise<Explanation> {
  const identity = process.geteuid?.() === 0 ? user : {};
  const words = [pid, process.pid, syscallNumber(arch, "prctl")].map(String);
  const child = spawn(PERL, ["-e", SUPERVISOR, "--", ...words], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {},
    cwd: "/",
    ...identity,
  });
  const tally = new SyscallTally(arch);
  const supervisor = answer(child, arch, tally);
  if ((await within(START_MS_MAX, supervisor.ready)) !== true) {
    child.kill("SIGKILL");
    throw new GateError("ERR_SANDBOX_START", "the supervisor of refused system calls did not start", {
      remedy: "run it without `--explain-seccomp`",
    });
  }
  const stage = { program: explainPrograms(arch).inner, waitsIn: "unshare" } as const;
  return {
    request: (environment, argv) => stagedRequest(arch, stage, environment, argv),
    denials: (exitCode) => tally.denials(exitCode),
    startFailure: (exitCode) => (supervisor.hasMet() ? undefined : stageFailure(exitCode)),
    close: () => void child.kill("SIGKILL"),
  };
}

/** Of a stage that ended before the tool was there. */
export function stageFailure(exitCode: number | null): StartFailure {
  switch (exitCode) {
    case STAGE_EXITS.absent:
      return { why: "was not found", errno: "ENOENT" };
    case STAGE_EXITS.unexecutable:
      return { why: "may not be executed", errno: "EACCES" };
    default:
      return { why: "was not started: the filter that asks its supervisor could not be loaded" };
  }
}

interface Supervisor {
  /** True when it is there, false when it ended. */
  readonly ready: Promise<boolean>;
  /** Whether the stage has asked: the tool comes after that. */
  hasMet(): boolean;
}

/** Answers each call as the default program would have. */
function answer(child: ChildProcess, arch: SeccompArch, tally: SyscallTally): Supervisor {
  const program = decodeProgram(defaultSeccomp(arch).program);
  const { stdin, stdout, stderr } = child;
  stdin?.on("error", () => {}); // it ended; whoever still asks gets ENOSYS from the kernel
  stderr?.resume();
  let met = false;
  const onCall = (call: SeccompData): void => {
    const ret = runProgram(program, call);
    // What the filter asked about it refuses; should the two ever differ, it stays refused.
    const errno = (ret & 0xffff_0000) >>> 0 === RET.ERRNO ? ret & 0xffff : EPERM;
    if (met) tally.add(call, errno);
    met = true;
    stdin?.write(`${errno}\n`);
  };
  const ready = new Promise<boolean>((done) => {
    child.on("error", () => done(false));
    child.on("exit", () => done(false));
    if (stdout === null) return done(false);
    createInterface({ input: stdout }).on("line", (line) =>
      line === "ready" ? done(true) : onCall(parseCall(line)),
    );
  });
  return { ready, hasMet: () => met };
}

function parseCall(line: string): SeccompData {
  const [nr = "", arch = "", ...args] = line.split(" ");
  return { nr: Number(nr), arch: Number(arch), args: args.map(BigInt) };
}
