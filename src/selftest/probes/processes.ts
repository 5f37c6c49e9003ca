import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Probe, Stage } from "../probe.ts";
import { perl, sh } from "../program.ts";
import type { Scene } from "../scene.ts";
import { outliving, sharedMemory, type Victim, victim } from "../stages.ts";

/** A stage around a process of the host. */
async function around(
  scene: Scene,
  make: (victim: Victim & { readonly fd: string }) => Pick<Stage, "args" | "effect">,
): Promise<Stage> {
  const one = await victim(scene);
  return { args: [`${one.pid}`], ...make(one), close: one.close };
}

const OWN_PROCESSES =
  "processes inside gVisor are the sentry's own; a number that fits one of them is no process of the host";

const SIGNALS: readonly Probe[] = [
  {
    id: "processes.signal",
    title: "ends a process of the host by its number",
    program: sh(`kill -TERM "$1"; kill -KILL "$1"; sleep 0.1`),
    stage: (scene) => around(scene, ({ ended }) => ({ effect: ended })),
  },
  {
    id: "processes.signal-group",
    title: "ends a process group of the host",
    program: sh(`kill -KILL "-$1"; sleep 0.1`),
    stage: (scene) => around(scene, ({ ended }) => ({ effect: ended })),
  },
  {
    id: "processes.signal-pidfd",
    title: "ends a process of the host through a process descriptor (pidfd_send_signal)",
    program: perl(
      `my $fd = sys('pidfd_open', $ARGV[0] + 0, 0); sys('pidfd_send_signal', $fd, 9, 0, 0); select undef, undef, undef, 0.1`,
    ),
    stage: (scene) => around(scene, ({ ended }) => ({ effect: ended })),
  },
  {
    id: "processes.signal-queue",
    title: "ends a process of the host with a queued signal, and with one to its thread",
    program: perl(`my $pid = $ARGV[0] + 0; my $info = pack('l l l x116', 9, 0, -1);
sys('rt_sigqueueinfo', $pid, 9, $info); sys('tgkill', $pid, $pid, 9); sys('tkill', $pid, 9); select undef, undef, undef, 0.1`),
    stage: (scene) => around(scene, ({ ended }) => ({ effect: ended })),
  },
  {
    id: "processes.limits",
    title: "changes the limits of a process of the host (prlimit)",
    outside: "user",
    program: perl(`my $new = pack('Q Q', 7, 7); sys('prlimit64', $ARGV[0] + 0, 7, $new, 0)`),
    stage: (scene) =>
      around(scene, ({ pid }) => ({
        effect: () =>
          /^Max open files +7 /m.test(readFileSync(`/proc/${pid}/limits`, "utf8"))
            ? `the limits of the host's process ${pid} were changed`
            : undefined,
      })),
  },
];

const READS: readonly Probe[] = [
  {
    id: "processes.ptrace",
    title: "attaches to a process of the host (ptrace)",
    program: perl(
      `my $pid = $ARGV[0] + 0; if (sys('ptrace', 16, $pid, 0, 0) == 0) { waitpid $pid, 0; reached('it was stopped and could be read'); sys('ptrace', 17, $pid, 0, 0) }`,
    ),
    ownKernel: OWN_PROCESSES,
    stage: (scene) => around(scene, () => ({})),
  },
  {
    id: "processes.ptrace-own",
    title: "traces a process of its own, to step around filters (ptrace)",
    program: perl(
      `my $child = fork; if (!$child) { reached('the kernel lets it be traced') if sys('ptrace', 0, 0, 0, 0) == 0; exit } waitpid $child, 0`,
    ),
    ownKernel: "ptrace inside gVisor is the sentry's own, and its filters are below the sentry",
  },
  {
    id: "processes.memory-vm-readv",
    title: "reads the memory of a process of the host (process_vm_readv)",
    program:
      perl(`my ($pid, $at) = @ARGV; my $x = "\\0" x 64; my $local = pack('P Q', $x, 64); my $remote = pack('Q Q', $at, 64);
print $x if sys('process_vm_readv', $pid + 0, $local, 1, $remote, 1, 0) > 0`),
    stage: (scene) => around(scene, ({ pid, address }) => ({ args: [`${pid}`, address] })),
  },
  {
    id: "processes.memory-file",
    title: "reads the memory of a process of the host through /proc/PID/mem",
    program: perl(
      `my ($pid, $at) = @ARGV; open my $f, '<', "/proc/$pid/mem"; sysseek $f, $at, 0; sysread $f, my $x, 64; print $x`,
    ),
    stage: (scene) => around(scene, ({ pid, address }) => ({ args: [`${pid}`, address] })),
  },
  {
    id: "processes.environment",
    title: "reads the environment of every process it sees, the gate's and its launcher's among them",
    program: sh("cat /proc/[0-9]*/environ /proc/self/task/*/environ 2>/dev/null"),
    stage: (scene) => around(scene, () => ({})),
  },
  {
    id: "processes.arguments",
    title: "reads the command line of every process it sees",
    program: sh("cat /proc/[0-9]*/cmdline 2>/dev/null"),
    stage: (scene) => around(scene, () => ({})),
  },
  {
    id: "processes.descriptors",
    title: "opens the files that processes it sees have open",
    program: sh('for f in /proc/[0-9]*/fd/*; do [ -f "$f" ] && head -c 200 "$f"; done 2>/dev/null'),
    stage: (scene) => around(scene, () => ({})),
  },
  {
    id: "processes.descriptor-stolen",
    title: "takes a descriptor out of a process of the host (pidfd_getfd)",
    program:
      perl(`my $fd = sys('pidfd_open', $ARGV[0] + 0, 0); my $got = sys('pidfd_getfd', $fd, $ARGV[1] + 0, 0);
if ($got >= 0) { open my $f, '<&=', $got; seek $f, 0, 0; print <$f> }`),
    stage: (scene) => around(scene, ({ pid, fd }) => ({ args: [`${pid}`, fd] })),
  },
  {
    id: "processes.inherited-descriptor",
    title: "reads a file that whoever started the gate left open, by its descriptor",
    program: perl(`for my $n (3 .. 63) { if (open my $f, '<&=', $n) { sysread $f, my $x, 200; print $x } 
  for my $p ($$, 1, getppid) { my $file = "/proc/$p/fd/$n"; print slurp($file) if -f $file } }`),
    stage: ({ outside }) => ({ inherits: join(outside, "secret.txt") }),
  },
  {
    id: "processes.shared-memory",
    title: "attaches a System V shared memory segment of the host",
    program: perl(`my $id = shmget $ARGV[0], 0, 0; my $x; print $x if defined $id && shmread $id, $x, 0, 64`),
    stage: sharedMemory,
  },
];

const LIVES: readonly Probe[] = [
  {
    id: "processes.outlives",
    title: "leaves a daemon behind: two forks, a session of its own, everything closed",
    program: perl(`my ($ask, $answer) = @ARGV; if (!fork) { sys('setsid'); if (!fork) {
  close STDIN; close STDOUT; close STDERR;
  for (1 .. 150) { if (-e $ask) { spill($answer, 'yes'); last } select undef, undef, undef, 0.02 } } exit } wait`),
    stage: outliving,
  },
  {
    id: "processes.outlives-signals",
    title: "leaves a process behind that ignores every signal it can, while the first is killed",
    mayDie: true,
    program:
      perl(`my ($ask, $answer) = @ARGV; if (!fork) { $SIG{$_} = 'IGNORE' for grep { !/^(?:KILL|STOP|CHLD|CLD|NUM\\d+)$/ } keys %SIG;
  $SIG{$_} = 'IGNORE' for qw(HUP INT TERM QUIT USR1 USR2 ALRM); sys('setsid'); close STDIN; close STDOUT; close STDERR;
  for (1 .. 150) { if (-e $ask) { spill($answer, 'yes'); last } select undef, undef, undef, 0.02 } exit } kill 9, $$`),
    stage: outliving,
  },
  {
    id: "processes.own-executable",
    title: "overwrites the program it was started from, through /proc/PID/exe (as CVE-2019-5736 did)",
    grant: "read",
    program: perl(`my $child = fork; if (!$child) { exec './helper', '0.1'; exit 1 }
my $f; for (1 .. 50) { last if readlink("/proc/$child/exe") =~ /helper/ && open $f, '<', "/proc/$child/exe"; select undef, undef, undef, 0.01 }
waitpid $child, 0; my $fd = fileno $f;
for (1 .. 20) { if (open my $out, '+<', "/proc/self/fd/$fd") { print $out 'overwritten'; close $out; last } select undef, undef, undef, 0.01 }`),
    stage: (scene) => {
      const helper = join(scene.workspace, "helper");
      scene.program(helper, readFileSync("/usr/bin/sleep"));
      return {
        effect: () =>
          readFileSync(helper).subarray(0, 11).toString() === "overwritten"
            ? "a program of the host was overwritten"
            : undefined,
      };
    },
  },
  {
    id: "processes.launcher-executable",
    title: "overwrites the launcher or the sandbox's first program through /proc/1/exe",
    program: perl(`for my $pid (1, getppid) { open my $f, '<', "/proc/$pid/exe" or next; my $fd = fileno $f;
  reached("could write the program of process $pid: " . readlink "/proc/$pid/exe") if opens('+<', "/proc/self/fd/$fd") || $!{ETXTBSY} }`),
    ownKernel: OWN_PROCESSES,
  },
];

export const PROCESS_PROBES: readonly Probe[] = [...SIGNALS, ...READS, ...LIVES];
