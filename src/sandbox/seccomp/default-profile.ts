import type { ArgumentTest, SeccompProfile, SyscallEntry } from "./profile.ts";

/**
 * The allow list every sandbox gets: what ordinary programs (shells, compilers, Node, Python, Go, a JVM) use, and no
 * more of the kernel. What is named with an errno is refused on purpose; what is not named at all is refused too.
 *
 * Two rules of form, because runc and libseccomp read this as well:
 * - Entries of one syscall never contradict each other: for any arguments, all that hold have the same action. So no
 *   reader's order of precedence matters.
 * - Arguments the kernel takes as `int` are compared through a 32-bit mask (`int32`), since it ignores the upper half
 *   of the register: a plain comparison could be stepped around by setting bits there.
 */

const EPERM = 1;
const ENOSYS = 38;
const EAFNOSUPPORT = 97;

const ALLOW = "SCMP_ACT_ALLOW";
const ERRNO = "SCMP_ACT_ERRNO";
const INT_BITS = 32;

/** include/uapi/linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME lies within clone's signal byte and so cannot be asked for with clone. */
const CLONE_NEW_ANY = 0x7e02_0000;
/** include/uapi/linux/stat.h: S_ISUID and S_ISGID. */
const SETID_BITS = 0o6000;
/** include/uapi/asm-generic/fcntl.h: O_CREAT and __O_TMPFILE, the same on both architectures; otherwise the kernel ignores the mode, which is then whatever the register held. */
const CREATING_FLAGS = 0o20000100;
const S_IFMT = 0o170000;
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
/** include/linux/net.h SOCK_TYPE_MASK: above it are SOCK_NONBLOCK and SOCK_CLOEXEC. */
const SOCK_TYPE_MASK = 0xf;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;

export const DEFAULT_PROFILE: SeccompProfile = {
  defaultAction: ERRNO,
  defaultErrnoRet: EPERM,
  syscalls: [...files(), ...processes(), ...conditional(), ...refused(), ...absent()],
};

/** Files and memory. */
function files(): SyscallEntry[] {
  return [
    allow(
      "open files and descriptors: reading, writing, waiting, duplicating",
      `read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range dup dup2 dup3 lseek
       fcntl flock fsync fdatasync sync syncfs sync_file_range fadvise64 readahead cachestat fallocate truncate
       ftruncate sendfile copy_file_range splice tee vmsplice pipe pipe2 select pselect6 poll ppoll epoll_create
       epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 memfd_create inotify_init
       inotify_init1 inotify_add_watch inotify_rm_watch`,
    ),
    allow(
      "names and metadata of files; the mount table and file permissions decide what they reach",
      `access faccessat faccessat2 stat fstat lstat newfstatat statx statfs fstatfs getcwd chdir fchdir getdents
       getdents64 mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat readlink
       readlinkat umask utime utimes futimesat utimensat chown fchown lchown fchownat setxattr lsetxattr fsetxattr
       setxattrat getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat removexattr
       lremovexattr fremovexattr removexattrat`,
    ),
    allow(
      "a process's own memory",
      `mmap mprotect munmap mremap msync brk madvise mincore mlock mlock2 mlockall munlock munlockall mseal
       remap_file_pages pkey_alloc pkey_free pkey_mprotect map_shadow_stack membarrier get_mempolicy`,
    ),
  ];
}

/** Programs, threads, time, and talking to others. */
function processes(): SyscallEntry[] {
  return [
    allow(
      "programs, children and exits; fork and vfork take no flags, clone is filtered below",
      `execve execveat fork vfork exit exit_group wait4 waitid pidfd_open pidfd_send_signal process_mrelease
       set_tid_address arch_prctl restart_syscall rseq uretprobe uprobe`,
    ),
    allow(
      "identity and limits; without capabilities the kernel refuses what would raise them",
      `getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid
       setregid setresuid setresgid setfsuid setfsgid setgroups getpgid getpgrp setpgid getsid setsid capget capset
       prctl getrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set sysinfo uname times
       getcpu getrandom`,
    ),
    allow(
      "only ever tightens: seccomp filters and Landlock rules of the program's own",
      "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
    allow("signals; the process namespace bounds whom they reach", "kill"),
    allow(
      "signals to threads, handlers and masks",
      `tkill tgkill rt_sigaction rt_sigprocmask rt_sigpending rt_sigreturn rt_sigsuspend rt_sigtimedwait
       rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause alarm`,
    ),
    allow(
      "threads: locks and scheduling",
      `futex futex_waitv futex_wake futex_wait futex_requeue get_robust_list set_robust_list sched_yield
       sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam sched_setparam
       sched_getscheduler sched_setscheduler sched_get_priority_min sched_get_priority_max sched_rr_get_interval`,
    ),
    allow(
      "reading clocks, sleeping, timers",
      `time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep getitimer setitimer timer_create
       timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime timerfd_gettime`,
    ),
    allow(
      "sockets once open; which may be opened is decided below, where they lead by the network namespace",
      `bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt shutdown sendto recvfrom
       sendmsg recvmsg sendmmsg recvmmsg`,
    ),
    allow(
      "System V and POSIX IPC; the IPC namespace bounds whom it reaches",
      `shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
       mq_timedsend mq_timedreceive mq_notify mq_getsetattr`,
    ),
    allow(
      "the older asynchronous I/O, for databases",
      "io_setup io_submit io_getevents io_pgetevents io_cancel io_destroy",
    ),
  ];
}

function conditional(): SyscallEntry[] {
  return [
    allow("threads and children, in no new namespace", "clone", masked(0, CLONE_NEW_ANY, 0)),
    ...[0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff].map((persona) =>
      allow(
        "Linux, 32-bit machine name, 2.6 version name, and asking; none loosens memory layout",
        "personality",
        int32(0, persona),
      ),
    ),
    ...devices(),
    ...modes(),
    ...except([TIOCSTI, TIOCLINUX], 1, (test) =>
      allow("every ioctl but those that type into a terminal (TIOCSTI, TIOCLINUX)", "ioctl", test),
    ),
    ...sockets(),
  ];
}

/** Nothing a sandbox makes may run as someone else: set-user-ID and set-group-ID bits are refused at the source. */
function modes(): SyscallEntry[] {
  const reason = "no set-user-ID or set-group-ID bits";
  const plain = (index: number): ArgumentTest => masked(index, SETID_BITS, 0);
  const opening = "opens without creating, where the kernel ignores the mode";
  return [
    allow(reason, "chmod fchmod creat", plain(1)),
    allow(reason, "fchmodat fchmodat2", plain(2)),
    allow(opening, "open", masked(1, CREATING_FLAGS, 0)),
    allow(reason, "open", plain(2)),
    allow(opening, "openat", masked(2, CREATING_FLAGS, 0)),
    allow(reason, "openat", plain(3)),
  ];
}

function devices(): SyscallEntry[] {
  const fifo = 0o010000;
  const regular = 0o100000;
  const socket = 0o140000;
  return [0, regular, fifo, socket].flatMap((type) => [
    allow(
      "files, FIFOs and sockets but no devices, and no set-ID bits",
      "mknod",
      masked(1, S_IFMT | SETID_BITS, type),
    ),
    allow(
      "files, FIFOs and sockets but no devices, and no set-ID bits",
      "mknodat",
      masked(2, S_IFMT | SETID_BITS, type),
    ),
  ]);
}

function sockets(): SyscallEntry[] {
  const type = (value: number): ArgumentTest => masked(1, SOCK_TYPE_MASK, value);
  const local = [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET].map((kind) =>
    allow("Unix sockets", "socket socketpair", int32(0, AF_UNIX), type(kind)),
  );
  const internet = [AF_INET, AF_INET6].flatMap((family) =>
    [
      [SOCK_STREAM, 0],
      [SOCK_STREAM, IPPROTO_TCP],
      [SOCK_DGRAM, 0],
      [SOCK_DGRAM, IPPROTO_UDP],
    ].map(([kind = 0, protocol = 0]) =>
      allow(
        "TCP and UDP; not raw, SCTP, DCCP, MPTCP or SMC",
        "socket",
        int32(0, family),
        type(kind),
        int32(2, protocol),
      ),
    ),
  );
  // The errno a kernel without that family gives, so that libraries which look for netlink and the like go on without.
  const otherSockets = except([AF_UNIX, AF_INET, AF_INET6], 0, (test) =>
    refuse("netlink, packet, vsock, AF_ALG and every other family", EAFNOSUPPORT, "socket", test),
  );
  const otherPairs = except([AF_UNIX], 0, (test) =>
    refuse("only Unix sockets come in pairs", EAFNOSUPPORT, "socketpair", test),
  );
  return [...local, ...internet, ...otherSockets, ...otherPairs];
}

/** Refused with EPERM, as the kernel refuses someone without the privilege. Unnamed syscalls fare the same; these have reasons. */
function refused(): SyscallEntry[] {
  return [
    refuse("new namespaces reopen the kernel's surface to root of their own", EPERM, "unshare setns"),
    refuse(
      "the mount table is the sandbox's wall",
      EPERM,
      `mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr
       mount_setattr`,
    ),
    refuse("submits syscalls past this filter", EPERM, "io_uring_setup io_uring_enter io_uring_register"),
    refuse("lets a program stop the kernel mid-copy, which makes races certain", EPERM, "userfaultfd"),
    refuse("keyrings are not namespaced", EPERM, "keyctl add_key request_key"),
    refuse("programs inside the kernel, and its counters", EPERM, "bpf perf_event_open"),
    refuse(
      "other processes' memory, descriptors and secrets",
      EPERM,
      "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp",
    ),
    refuse(
      "opens files by handle, past every directory permission",
      EPERM,
      "open_by_handle_at name_to_handle_at",
    ),
    refuse("watches whole file systems", EPERM, "fanotify_init fanotify_mark"),
    refuse("the host's clock", EPERM, "settimeofday clock_settime adjtimex clock_adjtime"),
    refuse(
      "the host itself: booting, modules, swap, quotas, accounting, names, ports, the kernel's log",
      EPERM,
      `reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff quotactl quotactl_fd acct
       sethostname setdomainname iopl ioperm vhangup syslog`,
    ),
    refuse(
      "placement of memory on nodes shared with others",
      EPERM,
      "mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages",
    ),
  ];
}

/** Refused as if the kernel did not have them, because libraries then fall back to what can be filtered. */
function absent(): SyscallEntry[] {
  return [
    refuse("its flags lie in memory, where a filter cannot look; libc falls back to clone", ENOSYS, "clone3"),
    refuse("its mode and flags lie in memory; libraries fall back to openat", ENOSYS, "openat2"),
    refuse("memory the kernel itself cannot read", ENOSYS, "memfd_secret"),
    refuse("segments of 16-bit programs", ENOSYS, "modify_ldt"),
    refuse(
      "new and not yet needed by any libc",
      ENOSYS,
      "statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules file_getattr file_setattr",
    ),
    refuse(
      "long gone from the kernel, or never in it",
      ENOSYS,
      `uselib ustat sysfs _sysctl create_module get_kernel_syms query_module nfsservctl getpmsg putpmsg afs_syscall
       tuxcall security vserver set_thread_area get_thread_area epoll_ctl_old epoll_wait_old lookup_dcookie`,
    ),
  ];
}

function allow(comment: string, names: string, ...args: readonly ArgumentTest[]): SyscallEntry {
  return { names: names.split(/\s+/), action: ALLOW, ...(args.length > 0 && { args }), comment };
}

function refuse(
  comment: string,
  errnoRet: number,
  names: string,
  ...args: readonly ArgumentTest[]
): SyscallEntry {
  return { names: names.split(/\s+/), action: ERRNO, errnoRet, ...(args.length > 0 && { args }), comment };
}

function masked(index: number, mask: number, value: number): ArgumentTest {
  return { index, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" };
}

/** `(int)argument == value`. */
function int32(index: number, value: number): ArgumentTest {
  return masked(index, 0xffff_ffff, value);
}

/**
 * Entries which together hold for every 32-bit value but `values`. OCI has no "masked not equal", and its
 * `SCMP_CMP_NE` compares 64 bits. A value is another one exactly when some bit on which all `values` agree differs,
 * or the bits on which they do not form a pattern none of them has. With n bits of the latter kind up to 2^n entries
 * result, so the values should be alike.
 */
export function except(
  values: readonly number[],
  index: number,
  entry: (test: ArgumentTest) => SyscallEntry,
): SyscallEntry[] {
  const first = values[0] ?? 0;
  const varying = values.reduce((bits, value) => (bits | (value ^ first)) >>> 0, 0);
  const tests: ArgumentTest[] = [];
  // High bits first: most values differ there, so the compiled test ends soonest.
  for (let bit = INT_BITS - 1; bit >= 0; bit--) {
    const mask = (1 << bit) >>> 0;
    if ((varying & mask) === 0) tests.push(masked(index, mask, (~first & mask) >>> 0));
  }
  const taken = new Set(values.map((value) => (value & varying) >>> 0));
  // Subtracting one and masking visits every subset of the varying bits once, from all of them down to none.
  for (let bits = varying; ; bits = ((bits - 1) & varying) >>> 0) {
    if (!taken.has(bits)) tests.push(masked(index, varying, bits));
    if (bits === 0) break;
  }
  // One reason is enough for a group that can be dozens long.
  return tests
    .map(entry)
    .map(({ comment, ...rest }, at) => (at === 0 && comment !== undefined ? { ...rest, comment } : rest));
}
