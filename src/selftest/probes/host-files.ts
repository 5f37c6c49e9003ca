import { join } from "node:path";
import type { Probe } from "../probe.ts";
import { perl } from "../program.ts";
import { setIdBit } from "../stages.ts";

/** Opens for writing what would take over the host, and writes nothing: that it can be opened is the finding. */
function opensForWriting(...paths: readonly string[]): Probe["program"] {
  return perl(
    `for (map { glob } qw(${paths.join(" ")})) { reached("could write $_") if -e $_ && (opens('+<', $_) || opens('>>', $_)) }`,
  );
}

const OWN_FILES = "gVisor serves its own /proc and /sys, and device nodes of its own, which lead nowhere";

/** Files of the host's kernel and its devices. */
export const HOST_FILE_PROBES: readonly Probe[] = [
  {
    id: "files.core-pattern",
    title: "names a program for the host's kernel to run as root when something crashes (core_pattern)",
    together: "host-files",
    program: opensForWriting("/proc/sys/kernel/core_pattern"),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.proc-sys",
    title: "changes the host's kernel settings in /proc/sys",
    together: "host-files",
    program: opensForWriting(
      "/proc/sys/vm/overcommit_memory",
      "/proc/sys/kernel/modprobe",
      "/proc/sys/fs/file-max",
    ),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.sysrq",
    title: "reboots the host through /proc/sysrq-trigger",
    together: "host-files",
    program: opensForWriting("/proc/sysrq-trigger"),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.release-agent",
    title: "names a program for a cgroup's release_agent, which the host's kernel runs as root",
    together: "host-files",
    program: opensForWriting("/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/*/release_agent"),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.cgroup-procs",
    title: "leaves its cgroup, and so its limits, by writing to another's cgroup.procs",
    together: "host-files",
    program: opensForWriting("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/*/cgroup.procs"),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.uevent-helper",
    title: "names a program for the host's kernel to run on device events",
    together: "host-files",
    program: opensForWriting("/sys/kernel/uevent_helper"),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.sysfs",
    title: "changes the host's kernel settings in /sys",
    together: "host-files",
    program: opensForWriting(
      "/sys/kernel/mm/transparent_hugepage/enabled",
      "/sys/module/*/parameters/*",
      "/sys/power/state",
    ),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.system-programs",
    title: "overwrites a program or library of the host",
    together: "host-files",
    program: opensForWriting(
      "/usr/bin/env",
      "/usr/bin/ls",
      "/usr/lib/os-release",
      "/etc/ld.so.cache",
      "/etc/ld.so.preload",
    ),
  },
  {
    id: "files.accounts",
    title: "reads the host's password hashes",
    together: "host-files",
    program: perl(`reached('/etc/shadow can be read') if slurp('/etc/shadow') =~ /^root:/m`),
  },
  {
    id: "files.kcore",
    title: "reads the memory of the host's kernel through /proc/kcore",
    together: "host-files",
    program: perl(
      `open my $f, '<', '/proc/kcore'; sysread $f, my $x, 4; reached('the kernel gives its memory') if $x eq "\\x7fELF"`,
    ),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.physical-memory",
    title: "reads the host's physical memory, or its ports",
    together: "host-files",
    program: perl(`for (qw(/dev/mem /dev/port)) { reached("$_ can be opened") if opens('<', $_) }`),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.kernel-log",
    title: "reads the host's kernel log through /dev/kmsg",
    together: "host-files",
    program: perl(
      `open my $f, '<', '/dev/kmsg'; sysread $f, my $x, 8192; reached('a line of the log: ' . substr $x, 0, 20) if length $x`,
    ),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.kernel-symbols",
    title: "reads where the host's kernel lies in memory, from /proc/kallsyms",
    together: "host-files",
    program: perl(`open my $f, '<', '/proc/kallsyms'; my $n = 0;
while (<$f>) { if (/^[0-9a-f]*[1-9a-f]/) { reached('an address that is not zero'); last } last if $n++ > 99 }`),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.block-device",
    title: "opens the host's disk past its file system",
    together: "host-files",
    program: perl(`for (split /\\n/, slurp('/proc/partitions')) { my ($name) = /(\\S+)$/ or next;
  if (open my $f, '<', "/dev/$name") { sysread $f, my $x, 512; reached("the first bytes of /dev/$name") if length $x } }`),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.device-nodes",
    title: "opens a device that reaches into the host: fuse, tun, loop, kvm, vhost",
    together: "host-files",
    program:
      perl(`for (qw(/dev/fuse /dev/net/tun /dev/loop-control /dev/kvm /dev/vhost-vsock /dev/vhost-net /dev/uinput)) {
  reached("$_ can be opened") if opens('+<', $_) }`),
    ownKernel: OWN_FILES,
  },
  {
    id: "files.mknod",
    title: "makes a device node of its own and opens it",
    program: perl(`my $p = './node'; sys('mknod', $p, 0020666, (1 << 8) | 5); my $x;
if (open my $f, '<', $p) { reached('a device of its own gives bytes') if sysread $f, $x, 4 } unlink $p;
my $at = './node-at'; sys('mknodat', -100, $at, 0060600, (7 << 8) | 0); reached('a block device was made') if -b $at; unlink $at;`),
    ownKernel: "a node made under gVisor is the sandbox's own; on the host it is a file",
  },
  {
    id: "files.setuid",
    title: "leaves a set-user-ID program in the workspace, for somebody outside to run",
    program:
      perl(`my $p = 'helper'; spill($p, "#!/bin/sh\\n"); chmod 06755, $p; sys('fchmodat', -100, $p, 06755);
sys('openat', -100, 'another', 0101, 06755); sys('mknodat', -100, 'third', 0106755, 0);`),
    stage: ({ workspace }) => ({
      effect: setIdBit(join(workspace, "helper"), join(workspace, "another"), join(workspace, "third")),
    }),
  },
  {
    id: "files.run-setuid",
    title: "becomes root by running a set-user-ID program of the host",
    outside: "user",
    program: perl(`pipe my $r, my $w; my $child = fork;
if (!$child) { open STDIN, '<&', $r; close $w; open STDERR, '>', '/dev/null'; exec '/usr/bin/su', 'root', '-c', 'true'; exit 1 }
for (1 .. 50) { select undef, undef, undef, 0.02; my ($real, $effective) = slurp("/proc/$child/status") =~ /^Uid:\\s+(\\d+)\\s+(\\d+)/m;
  if ($real != 0 && $effective == 0) { reached('a program of its own runs as root'); last } last if waitpid($child, 1) }
kill 9, $child; waitpid $child, 0;`),
  },
  {
    id: "files.open-by-handle",
    title: "opens a file by its handle, past every folder on the way",
    program: perl(`for my $name ($ARGV[0], 'readme.txt') {
  my $handle = pack('L l a128', 128, 0, ''); my $mount = pack('l', 0);
  next if sys('name_to_handle_at', -100, $name, $handle, $mount, 0) < 0;
  my $fd = sys('openat', -100, '.', 0200000, 0); my $r = sys('open_by_handle_at', $fd, $handle, 0);
  if ($r >= 0) { reached('a file was opened by its handle'); open my $f, '<&=', $r; print <$f> }
}`),
    ownKernel: "the handles of gVisor are the sentry's own, and name nothing of the host",
    stage: ({ outside }) => ({ args: [join(outside, "secret.txt")] }),
  },
  {
    id: "files.shared-memory-folder",
    title: "reads what programs of the host share in /dev/shm",
    program: perl(`print slurp($ARGV[0])`),
    stage: (scene) => {
      const path = `/dev/shm/callgate-selftest-${scene.secret.slice(-12)}`;
      scene.plant(path, scene.secret);
      return { args: [path], close: () => scene.remove(path) };
    },
  },
];
