import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Probe, Stage } from "../probe.ts";
import { perl, sh } from "../program.ts";
import type { Scene } from "../scene.ts";

const MIB = 1024 * 1024;

/** The program says that it got to its end in a file of the workspace: what it prints may be what is bounded. */
function finishing(scene: Scene): Stage {
  const path = join(scene.workspace, "finished");
  return {
    args: [path],
    effect: () => (existsSync(path) ? "it went on to its end, past the limit" : undefined),
  };
}

/** Fills a folder with up to 64 MiB in files of 4 MiB; each is unlinked while it is open, so nothing stays. */
function fills(folder: string): Probe["program"] {
  return perl(`my ($n, @kept) = 0; my $block = 'x' x ${4 * MIB}; my $d = ${folder};
while ($n < 16) { my $p = "$d/callgate-selftest-$$-$n"; open my $f, '>', $p or last; unlink $p; defined(my $w = syswrite $f, $block) or last; last if $w < length $block; push @kept, $f; $n++ }
reached(4 * $n . ' MiB were written') if $n > 6`);
}

const DISK = { limits: { scratchBytes: 8 * MIB, memoryBytes: 256 * MIB } } as const;

/** The limit is looked at now and then, and a second of rlimit(2) is the least: twice that is past it. */
const CPU = {
  cpuMsMax: 2_000,
  ownKernel:
    "the sentry counts time in which it waited for a processor; what was used is the host's to count",
} as const;

/** Every one is bounded: the control uses no more than it says, and gives it back. */
export const RESOURCE_PROBES: readonly Probe[] = [
  {
    id: "resources.processes",
    title: "starts processes without end (here: 200)",
    limits: { processes: 24 },
    mayDie: true,
    program:
      perl(`my @all; for (1 .. 200) { my $child = fork; last unless defined $child; if (!$child) { sleep 5; exit } push @all, $child }
reached(scalar(@all) . ' processes at once') if @all > 100; kill 9, @all; 1 while wait > 0`),
  },
  {
    id: "resources.processes-tree",
    title: "starts processes that start processes (here: 128 in all)",
    limits: { processes: 24 },
    treeLimits: true,
    mayDie: true,
    program:
      perl(`setpgrp 0, 0; my $first = $$; pipe my $r, my $w; for (1 .. 7) { last unless defined fork } syswrite $w, 'x';
if ($$ != $first) { select undef, undef, undef, 3; exit } select undef, undef, undef, 0.5; sysread $r, my $x, 4096;
reached(length($x) . ' processes at once') if length $x > 100; $SIG{TERM} = 'IGNORE'; kill 'TERM', 0; 1 while wait > 0`),
  },
  {
    id: "resources.memory",
    title: "takes memory without end (here: 384 MiB)",
    limits: { memoryBytes: 64 * MIB },
    mayDie: true,
    program: perl(`my @all; push @all, 'x' x ${8 * MIB} for 1 .. 48; reached(8 * @all . ' MiB at once')`),
  },
  {
    id: "resources.memory-tree",
    title: "takes memory in many processes (here: 4 of 48 MiB)",
    limits: { memoryBytes: 64 * MIB },
    treeLimits: true,
    mayDie: true,
    program:
      // Each keeps what it has; the first that is killed ends it.
      perl(`pipe my $r, my $w; my @all; $SIG{CHLD} = sub { kill 9, @all; exit };
for (1 .. 4) { my $pid = fork; defined $pid or exit; if ($pid) { push @all, $pid; next } $SIG{CHLD} = 'DEFAULT'; my $x = 'x' x ${48 * MIB}; syswrite $w, 'x'; sleep 30; exit } close $w;
my $n = 0; $n++ while $n < 4 && sysread $r, my $x, 1; $SIG{CHLD} = 'DEFAULT'; kill 9, @all; reached(48 * $n . ' MiB at once') if $n == 4`),
  },
  {
    id: "resources.memory-files",
    title: "takes memory as files without a name (memfd, here: 192 MiB)",
    limits: { memoryBytes: 64 * MIB },
    treeLimits: true,
    mayDie: true,
    program:
      perl(`my @all; my $block = 'x' x ${4 * MIB}; for (1 .. 48) { my $fd = sys('memfd_create', "m\\0", 0); last if $fd < 0; open my $f, '>&=', $fd; last unless ${4 * MIB} == syswrite $f, $block; push @all, $f }
reached(4 * @all . ' MiB at once') if @all == 48`),
  },
  {
    id: "resources.cpu",
    title: "computes without end (here: 2 seconds of processor time)",
    // Enough for perl to start under gVisor on a slow host, a third of what the program would use.
    limits: { cpuMs: 600 },
    ...CPU,
    mayDie: true,
    program: perl(
      `my $x = 0; while ((times)[0] + (times)[1] < 2) { $x++ for 1 .. 100000 } reached('2 seconds of processor time')`,
    ),
  },
  {
    id: "resources.cpu-tree",
    title: "computes in many processes (here: 5 of 0.5 seconds)",
    limits: { cpuMs: 800 },
    ...CPU,
    treeLimits: true,
    mayDie: true,
    program: perl(
      `for (1 .. 5) { next if fork; my $x = 0; while ((times)[0] + (times)[1] < 0.5) { $x++ for 1 .. 20000 } exit } 1 while wait > 0; reached('2.5 seconds of processor time') if (times)[2] > 2.3`,
    ),
  },
  {
    id: "resources.disk-tmp",
    title: "fills /tmp (here: 64 MiB)",
    ...DISK,
    mayDie: true,
    program: fills("'/tmp'"),
  },
  {
    id: "resources.disk-home",
    title: "fills its home folder (here: 64 MiB)",
    ...DISK,
    mayDie: true,
    program: fills("$ENV{HOME}"),
  },
  {
    id: "resources.disk-shm",
    title: "fills /dev/shm, which is memory (here: 64 MiB)",
    ...DISK,
    mayDie: true,
    program: fills("'/dev/shm'"),
  },
  {
    id: "resources.disk-elsewhere",
    title: "fills another folder of its tree that it may write (here: 64 MiB)",
    ...DISK,
    grant: "none",
    mayDie: true,
    program: perl(`my $block = 'x' x ${4 * MIB}; my $n = 0; my @kept;
DIR: for my $d (qw(/var/tmp /var/lock /run /run/lock /mnt /var /etc /), $ENV{PWD} || '.') { while ($n < 16) { my $p = "$d/callgate-selftest-$$-$n"; open my $f, '>', $p or next DIR; unlink $p; last if (syswrite $f, $block) < length $block; push @kept, $f; $n++ } }
reached(4 * $n . ' MiB were written') if $n > 6`),
  },
  {
    id: "resources.file-size",
    title: "writes one huge file into the workspace (here: 16 MiB)",
    limits: { fileSizeBytes: 2 * MIB },
    mayDie: true,
    program: perl(
      `$SIG{XFSZ} = 'IGNORE'; open my $f, '>', 'huge'; my $block = 'x' x ${MIB}; for (1 .. 16) { last unless ${MIB} == syswrite $f, $block }`,
    ),
    stage: ({ workspace }) => {
      const path = join(workspace, "huge");
      return {
        effect: () =>
          existsSync(path) && statSync(path).size > 4 * MIB
            ? `a file of ${statSync(path).size} bytes`
            : undefined,
      };
    },
  },
  {
    id: "resources.open-files",
    title: "opens files without end (here: 600), after raising its own limit",
    limits: { openFiles: 64 },
    mayDie: true,
    program: perl(
      `my $new = pack('Q Q', 4096, 4096); sys('setrlimit', 7, $new); my @all; for (1 .. 600) { open my $f, '<', '/dev/null' or last; push @all, $f } reached(scalar(@all) . ' files at once') if @all > 300`,
    ),
  },
  {
    id: "resources.output",
    title: "writes output without end (here: 8 MiB), and goes on",
    limits: { outputBytes: 65_536 },
    mayDie: true,
    program: perl(
      `my $block = 'x' x ${MIB}; print "\\n"; print $block for 1 .. 8; print "\\n"; select undef, undef, undef, 0.5; spill($ARGV[0], 'yes')`,
    ),
    stage: finishing,
  },
  {
    id: "resources.output-error",
    title: "writes to standard error without end (here: 8 MiB), and goes on",
    limits: { outputBytes: 65_536 },
    mayDie: true,
    program: perl(
      `my $block = 'x' x ${MIB}; print STDERR $block for 1 .. 8; select undef, undef, undef, 0.5; spill($ARGV[0], 'yes')`,
    ),
    stage: finishing,
  },
  {
    id: "resources.sleep",
    title: "sleeps longer than it may run, ignoring the signals that ask it to end",
    limits: { wallMs: 300 },
    mayDie: true,
    program: perl(
      `$SIG{$_} = 'IGNORE' for qw(TERM INT HUP ALRM); select undef, undef, undef, 1.5; spill($ARGV[0], 'yes')`,
    ),
    stage: finishing,
  },
  {
    id: "resources.sleep-detached",
    title: "sleeps longer than it may run, in a session of its own with its output closed",
    limits: { wallMs: 300 },
    mayDie: true,
    program: perl(
      `sys('setsid'); close STDIN; close STDOUT; close STDERR; select undef, undef, undef, 1.5; spill($ARGV[0], 'yes')`,
    ),
    stage: finishing,
  },
  {
    id: "resources.stopped",
    title: "stops itself, and so never ends",
    limits: { wallMs: 300 },
    mayDie: true,
    program: sh(`(sleep 1.5; kill -CONT $$) & kill -STOP $$; echo yes > "$1"; wait`),
    stage: finishing,
  },
  {
    id: "resources.priority",
    title: "takes precedence over the host's processes (nice, real-time scheduling)",
    program:
      perl(`sys('setpriority', 0, 0, -5); my $n = getpriority 0, 0; reached("it has priority $n") if $n < 0;
my $p = pack('l', 1); reached('it is scheduled in real time') if sys('sched_setscheduler', 0, 1, $p) == 0`),
    ownKernel: "the sentry's scheduler is its own; to the host all of it is one process of ordinary priority",
  },
];
