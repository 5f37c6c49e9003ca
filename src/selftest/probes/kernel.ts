import { join } from "node:path";
import { int80Program } from "../elf.ts";
import type { Probe } from "../probe.ts";
import { perl, sh } from "../program.ts";

const OWN_NAMESPACES =
  "a namespace made inside gVisor is the sentry's own and opens nothing of the host's kernel";
const OWN_SYSCALLS = "gVisor's own kernel answers this call; the host's never sees it";
const OWN_SOCKETS = "sockets of gVisor are its own network stack's, which has no device but its loopback";
const OWN_MOUNTS = "a mount made inside gVisor is the sentry's own";

/** include/uapi/linux/sched.h */
const CLONE = { ns: 0x2_0000, user: 0x1000_0000, pid: 0x2000_0000, net: 0x4000_0000, sigchld: 17 };

/** Tells what a program got that is root of a namespace of its own, and tries the host with it. */
const AS_ROOT = `sub as_root { my ($caps) = slurp('/proc/self/status') =~ /^CapEff:\\s+0*([1-9a-f][0-9a-f]*)$/m; reached("it is root of a new namespace, with the capabilities $caps") if $caps;
print slurp("/proc/1/root$ARGV[0]"), slurp($ARGV[0]) }
`;

const path = (scene: { outside: string }): { args: string[] } => ({
  args: [join(scene.outside, "secret.txt")],
});

const NAMESPACES: readonly Probe[] = [
  {
    id: "kernel.user-namespace",
    title: "makes itself root of a user namespace (unshare)",
    program: perl(`${AS_ROOT}as_root() if sys('unshare', ${CLONE.user}) == 0`),
    ownKernel: OWN_NAMESPACES,
    stage: path,
  },
  {
    id: "kernel.user-namespace-clone",
    title: "starts a process that is root of a user namespace (clone)",
    program: perl(`${AS_ROOT}my $r = sys('clone', ${CLONE.user + CLONE.sigchld}, 0, 0, 0, 0);
if ($r == 0) { as_root(); exit } wait`),
    ownKernel: OWN_NAMESPACES,
    stage: path,
  },
  {
    id: "kernel.user-namespace-clone3",
    title: "starts a process that is root of a user namespace (clone3, whose flags no filter sees)",
    program: perl(`${AS_ROOT}my $args = pack('Q8', ${CLONE.user}, 0, 0, 0, ${CLONE.sigchld}, 0, 0, 0);
my $r = sys('clone3', $args, 64); if ($r == 0) { as_root(); exit } wait`),
    ownKernel: OWN_NAMESPACES,
    stage: path,
  },
  {
    id: "kernel.user-namespace-high-bits",
    title: "asks for a user namespace with bits set that the kernel ignores",
    program: perl(`${AS_ROOT}my $r = sys('clone', ${CLONE.user + CLONE.sigchld} | (1 << 40), 0, 0, 0, 0);
if ($r == 0) { as_root(); exit } wait`),
    ownKernel: OWN_NAMESPACES,
    stage: path,
  },
  {
    id: "kernel.network-namespace",
    title: "makes a network namespace, which opens the kernel's packet filters",
    outside: "mapped",
    program: perl(
      `reached('it has a network namespace of its own') if sys('unshare', ${CLONE.net}) == 0 || sys('unshare', ${CLONE.net + CLONE.user}) == 0`,
    ),
    ownKernel: OWN_NAMESPACES,
  },
  {
    id: "kernel.mount-namespace",
    title: "makes a mount namespace, to take covers off in it",
    outside: "mapped",
    program: perl(
      `reached('it has a mount namespace of its own') if sys('unshare', ${CLONE.ns}) == 0 || sys('unshare', ${CLONE.ns + CLONE.user}) == 0`,
    ),
    ownKernel: OWN_NAMESPACES,
  },
  {
    id: "kernel.join-namespace",
    title: "joins the namespaces of another process (setns)",
    outside: "mapped",
    program:
      perl(`for my $p (1, getppid, $$) { for my $n (qw(user mnt net pid ipc uts cgroup)) { open my $f, '<', "/proc/$p/ns/$n" or next;
  reached("it joined the $n namespace of process $p") if sys('setns', fileno $f, 0) == 0 } }`),
    ownKernel: OWN_NAMESPACES,
  },
  {
    id: "kernel.capabilities",
    title: "has capabilities, or could get them back",
    program:
      perl(`my ($effective, $bounding) = slurp('/proc/self/status') =~ /^CapEff:\\s+(\\w+).*^CapBnd:\\s+(\\w+)/ms;
reached("effective $effective, bounding $bounding") if $effective =~ /[1-9a-f]/ || $bounding =~ /[1-9a-f]/`),
    ownKernel: "capabilities inside gVisor are over its own kernel; the sentry holds none for the tool",
  },
  {
    id: "kernel.new-privileges",
    title: "may still gain privileges by running another program (no_new_privs is not set)",
    program: perl(`reached('no_new_privs is not set') unless sys('prctl', 39, 0, 0, 0, 0) == 1`),
    ownKernel: "gVisor runs set-user-ID programs over its own kernel",
  },
];

const MOUNTS: readonly Probe[] = [
  {
    id: "kernel.mount",
    title: "mounts a file system over its own tree (mount)",
    outside: "mapped",
    program: perl(
      `for my $p ('.', '/tmp') { reached("it mounted over $p") if sys('mount', 'none', $p, 'tmpfs', 0, 0) == 0 }`,
    ),
    ownKernel: OWN_MOUNTS,
  },
  {
    id: "kernel.unmount",
    title: "takes mounts off its tree (umount2)",
    outside: "mapped",
    program: perl(`mkdir 'm'; sys('mount', 'none', 'm', 'tmpfs', 0, 0);
for my $p ('m', '.env', '/proc/sys', '/dev/shm') { reached("it unmounted $p") if sys('umount2', $p, 2) == 0 }`),
    ownKernel: OWN_MOUNTS,
  },
  {
    id: "kernel.mount-new",
    title: "makes a file system by the newer calls (fsopen)",
    outside: "mapped",
    program: perl(`reached('the kernel opened a file system for it') if sys('fsopen', "tmpfs\\0", 0) >= 0`),
    ownKernel: OWN_MOUNTS,
  },
  {
    id: "kernel.mount-clone",
    title: "takes a copy of a mount, without what covers it (open_tree)",
    outside: "mapped",
    program: perl(`reached('it has a mount in its hand') if sys('open_tree', -100, "/\\0", 0x8001) >= 0`),
    ownKernel: OWN_MOUNTS,
  },
  {
    id: "kernel.mount-attributes",
    title: "makes read-only mounts writable (mount_setattr)",
    outside: "mapped",
    program: perl(
      `my $attr = pack('Q4', 0, 1, 0, 0); for my $p ('/', '/usr', '/proc/sys') { reached("$p was made writable") if sys('mount_setattr', -100, $p, 0, $attr, 32) == 0 }`,
    ),
    ownKernel: OWN_MOUNTS,
  },
  {
    id: "kernel.chroot",
    title: "changes its root folder, to walk out of it (chroot, pivot_root)",
    outside: "mapped",
    program: perl(
      `mkdir 'jail'; if (sys('chroot', 'jail') == 0) { reached('it has another root'); chdir '..' for 1 .. 50; sys('chroot', '.'); print slurp($ARGV[0]) }`,
    ),
    ownKernel: OWN_MOUNTS,
    stage: path,
  },
];

function once(id: Probe["id"], title: string, name: string, args: string, outside?: Probe["outside"]): Probe {
  return {
    id,
    title,
    ...(outside === undefined ? {} : { outside }),
    program: perl(`my $r = sys('${name}', ${args}); reached("${name} gave $r") if $r >= 0`),
    ownKernel: OWN_SYSCALLS,
  };
}

/** Calls ordinary programs do without. Each asks for something harmless that goes with the process. */
const CALLS: readonly Probe[] = [
  {
    id: "kernel.bpf",
    title: "loads a map into the kernel (bpf)",
    program: perl(
      `my $attr = pack('L4 x112', 2, 4, 4, 1); reached('a map was made') if sys('bpf', 0, $attr, 128) >= 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.perf",
    title: "counts the kernel's events (perf_event_open)",
    program: perl(
      `my $attr = pack('L L Q Q Q Q Q x80', 1, 128, 1, 0, 0, 0, 1 << 5); reached('a counter was made') if sys('perf_event_open', $attr, 0, -1, -1, 0) >= 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.io-uring",
    title: "submits calls past the filter (io_uring)",
    program: perl(
      `my $params = "\\0" x 120; reached('a ring was made') if sys('io_uring_setup', 4, $params) >= 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  once("kernel.userfaultfd", "holds the kernel up in the middle of a copy (userfaultfd)", "userfaultfd", "1"),
  {
    id: "kernel.keys",
    title: "keeps data in the kernel's keyrings (add_key, keyctl)",
    program: perl(
      `reached('the kernel kept a key') if sys('add_key', "user\\0", "callgate-selftest\\0", 'x', 1, -2) >= 0; reached('it has a session keyring') if sys('keyctl', 0, -3, 1) >= 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  once("kernel.fanotify", "watches whole file systems (fanotify_init)", "fanotify_init", "0x200, 0"),
  {
    id: "kernel.kernel-log",
    title: "reads the kernel's log (syslog)",
    program: perl(`my $x = "\\0" x 4096; reached('the log was read') if sys('syslog', 3, $x, 4096) > 0`),
    ownKernel: OWN_SYSCALLS,
  },
  once("kernel.ports", "gets at the machine's ports (iopl)", "iopl", "3"),
  {
    id: "kernel.aslr",
    title: "switches address randomisation off for what it starts (personality)",
    program: perl(
      `sys('personality', 0x0040000); reached('it is off') if sys('personality', 0xffffffff) & 0x0040000`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.16-bit-segments",
    title: "makes segments of 16-bit programs (modify_ldt)",
    program: perl(
      `my $d = pack('L4', 0, 0, 0xfffff, 0x51); reached('a segment was made') if sys('modify_ldt', 1, $d, 16) == 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.host-name",
    title: "changes the name of the machine (sethostname)",
    outside: "mapped",
    program: perl(
      `my $name = slurp('/proc/sys/kernel/hostname'); chomp $name; reached('the kernel took a name') if sys('sethostname', $name, length $name) == 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.x32",
    title: "makes calls by their x32 numbers, past a filter that knows only the others",
    mayDie: true,
    program: perl(
      `my $child = fork; if (!$child) { my $r = syscall 0x40000000 | 39; reached("getpid gave $r") if $r > 0; exit } waitpid $child, 0`,
    ),
    ownKernel: OWN_SYSCALLS,
  },
  {
    id: "kernel.int80",
    title: "makes calls by the gate of 32-bit programs (int 0x80), past a filter that knows only 64-bit ones",
    program: sh(`./int80; true`),
    stage: (scene) => {
      scene.program(join(scene.workspace, "int80"), int80Program());
      return {};
    },
  },
];

/** Each names constants of include/linux/socket.h and include/uapi/linux/in.h: family, type, protocol. */
const SOCKETS: readonly Probe[] = (
  [
    ["vsock", "talks to the hypervisor or other machines on it", 40, 1, 0],
    ["packet-socket", "reads and writes whole packets", 17, 3, 0x0300],
    ["raw-socket", "makes packets with a source of its choice", 2, 3, 255],
    ["icmp-socket", "sends echo requests, which carry data", 2, 2, 1],
    ["raw-socket-ipv6", "makes IPv6 packets with a source of its choice", 10, 3, 58],
    ["netlink-route", "asks the kernel about devices and routes", 16, 3, 0],
    ["netlink-netfilter", "talks to the kernel's packet filter", 16, 3, 12],
    ["netlink-events", "listens to the host's device events", 16, 3, 15],
    ["crypto-socket", "uses the kernel's ciphers (AF_ALG)", 38, 5, 0],
    ["xdp-socket", "bypasses the network stack (AF_XDP)", 44, 3, 0],
    ["key-socket", "changes the host's IPsec (AF_KEY)", 15, 3, 2],
    ["bluetooth-socket", "talks to radios (AF_BLUETOOTH)", 31, 3, 1],
    ["tipc-socket", "talks TIPC to a cluster", 30, 1, 0],
    ["sctp-socket", "talks SCTP", 2, 1, 132],
    ["mptcp-socket", "talks multipath TCP", 2, 1, 262],
  ] as const
).map(
  ([name, title, family, type, protocol]): Probe => ({
    id: `kernel.${name}`,
    title,
    together: "sockets",
    // A namespace of its own allows the control what takes privileges, or a setting, in the host's.
    ...(/packet|raw|icmp|xdp|netfilter|key/.test(name) ? { outside: "network" } : {}),
    program:
      perl(`my $fd = sys('socket', ${family}, ${type}, ${protocol}); reached("the kernel gave a socket") if $fd >= 0;
my $high = sys('socket', ${family} | (1 << 35), ${type} | 02000000, ${protocol}); reached("the kernel gave a socket for bits it ignores") if $high >= 0`),
    ownKernel: OWN_SOCKETS,
  }),
);

export const KERNEL_PROBES: readonly Probe[] = [...NAMESPACES, ...MOUNTS, ...CALLS, ...SOCKETS];
