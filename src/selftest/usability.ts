import { realpathSync } from "node:fs";
import type { Seen, Usability } from "./probe.ts";
import { bare } from "./program.ts";

/** A name that does not resolve has to fail within this, or every tool that looks at the network hangs. */
const DNS_MS_MAX = 2_000;
/** The size of what is passed through, well above what a pipe holds (64 KiB). */
const PASSED_BYTES = 700_000;

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

/** What is written to standard output, to the byte, by a program that ends well. */
function says(id: string, title: string, script: string, expected: string): Usability {
  return {
    id: `usability.${id}`,
    title,
    program: bare(script),
    complaint: (seen) => exits(0)(seen) ?? differs(seen.stdout, Buffer.from(expected)),
  };
}

function exits(code: number): (seen: Seen) => string | undefined {
  return ({ ending, stderr }) => {
    if (ending.kind === "exited" && ending.exitCode === code) return undefined;
    const end = ending.kind === "exited" ? `exit ${ending.exitCode}` : Object.values(ending).join(": ");
    return `${end}, ${stderr.toString("utf8").trim().slice(-200)}`;
  };
}

function differs(got: Buffer, wanted: Buffer): string | undefined {
  if (got.equals(wanted)) return undefined;
  const shown = JSON.stringify(got.subarray(0, 100).toString("latin1"));
  return `${got.length} bytes of ${wanted.length}, which begin ${shown}`;
}

const STREAMS: readonly Usability[] = [
  says("stdout-by-path", "writes to /dev/stdout by its path", "echo there > /dev/stdout", "there\n"),
  {
    id: "usability.stderr-by-path",
    title: "writes to /dev/stderr by its path",
    program: bare("echo there > /dev/stderr"),
    complaint: (seen) => exits(0)(seen) ?? differs(seen.stderr, Buffer.from("there\n")),
  },
  says(
    "descriptor-paths",
    "reads and writes by /dev/fd and /proc/self/fd",
    "exec 5< /dev/null; echo one >> /dev/fd/1; cat /proc/self/fd/5; echo two >> /proc/self/fd/1",
    "one\ntwo\n",
  ),
  says(
    "pipes",
    "joins programs by pipes, with more than a pipe holds",
    `head -c ${PASSED_BYTES} /dev/zero | tr '\\0' x | cat | wc -c`,
    `${PASSED_BYTES}\n`,
  ),
  {
    id: "usability.binary",
    title: "passes every byte from standard input to standard output",
    program: bare("cat"),
    stdin: ALL_BYTES,
    complaint: (seen) => exits(0)(seen) ?? differs(seen.stdout, ALL_BYTES),
  },
  {
    id: "usability.stdin",
    title: "reads all of its standard input to its end",
    program: bare("wc -c"),
    stdin: Buffer.alloc(PASSED_BYTES, "x"),
    complaint: (seen) => exits(0)(seen) ?? differs(seen.stdout, Buffer.from(`${PASSED_BYTES}\n`)),
  },
  {
    id: "usability.large-arguments",
    title: "takes 100 kB of arguments, with spaces, quotes and newlines among them",
    program: {
      argv: [
        "/usr/bin/printf",
        "%s\n",
        "a b",
        "'\"$x`",
        "-n",
        ...Array.from({ length: 1000 }, () => "x".repeat(100)),
      ],
    },
    complaint: (seen) =>
      exits(0)(seen) ??
      differs(
        seen.stdout,
        Buffer.from(
          ["a b", "'\"$x`", "-n", ...Array.from({ length: 1000 }, () => "x".repeat(100)), ""].join("\n"),
        ),
      ),
  },
];

const ENDS: readonly Usability[] = [
  {
    id: "usability.exit-code",
    title: "ends with an exit code of its own",
    program: bare("exit 42"),
    complaint: exits(42),
  },
  {
    id: "usability.exit-127",
    title: "ends with 127, which is not taken for a program that was not found",
    program: bare("exit 127"),
    complaint: exits(127),
  },
  {
    id: "usability.signal",
    title: "ends by a signal, and that is told",
    program: bare("kill -TERM $$"),
    complaint: ({ ending }) =>
      ending.kind === "exited" && ending.signal === "SIGTERM" ? undefined : Object.values(ending).join(": "),
  },
  says(
    "children",
    "starts programs in the background, signals them and waits for them",
    `sleep 30 & kill $!; wait $!; echo $?; (exit 3) & wait $!; echo $?`,
    "143\n3\n",
  ),
  says("traps", "handles a signal", `trap 'echo caught' USR1; kill -USR1 $$; echo after`, "caught\nafter\n"),
];

const PLACES: readonly Usability[] = [
  says(
    "working-directory",
    "starts in the workspace, and reads and writes there",
    "echo mine > new.txt && cat new.txt readme.txt && rm new.txt",
    "mine\nas it was planted\n",
  ),
  says(
    "tmp",
    "writes to /tmp and runs a program there",
    `printf '#!/bin/sh\\necho ran\\n' > /tmp/callgate-selftest-$$ && chmod +x /tmp/callgate-selftest-$$ && /tmp/callgate-selftest-$$; rm -f /tmp/callgate-selftest-$$`,
    "ran\n",
  ),
  says(
    "temporary-file",
    "makes temporary files and folders where TMPDIR, or its absence, says",
    `f=$(mktemp) && d=$(mktemp -d) && echo x > "$f" && echo y > "$d/y" && cat "$f" "$d/y" && rm -r "$f" "$d"`,
    "x\ny\n",
  ),
  says(
    "home",
    "writes to its home folder, hidden folders too",
    `mkdir -p ~/.cache/x && echo x > ~/.cache/x/y && cat ~/.cache/x/y`,
    "x\n",
  ),
  says(
    "shared-memory",
    "shares memory with its children through /dev/shm",
    `echo x > /dev/shm/callgate-selftest-$$ && (cat /dev/shm/callgate-selftest-$$); rm /dev/shm/callgate-selftest-$$`,
    "x\n",
  ),
  says(
    "locks",
    "locks a file against another process",
    `perl -e 'use Fcntl ":flock"; open my $f, ">", "lock"; flock $f, LOCK_EX; my $c = fork; if (!$c) { open my $g, "<", "lock"; exit(flock($g, LOCK_EX | LOCK_NB) ? 1 : 0) } wait; print $? ? "taken\\n" : "kept\\n"'`,
    "kept\n",
  ),
  says(
    "devices",
    "uses /dev/null, /dev/zero, /dev/full and /dev/urandom",
    `echo x > /dev/null; head -c 4 /dev/urandom | wc -c; head -c 4 /dev/zero | wc -c; echo x 2>/dev/null > /dev/full || echo full`,
    "4\n4\nfull\n",
  ),
  says(
    "links",
    "makes and follows links in the workspace",
    "ln -s readme.txt link && ln readme.txt hard && cat link hard && rm link hard",
    "as it was planted\nas it was planted\n",
  ),
  says(
    "rename",
    "renames over files as editors do, and keeps modes and times",
    "echo 1 > a; echo 2 > b; chmod 640 b; touch -d 2001-02-03 b; mv b a; stat -c '%a %y' a | cut -c 1-14; cat a; rm a",
    "640 2001-02-03\n2\n",
  ),
  says(
    "unix-sockets",
    "talks to itself over a Unix socket and over loopback",
    `perl -e 'use Socket; for my $k (0, 1) { socket my $s, $k ? PF_INET : PF_UNIX, SOCK_STREAM, 0; bind $s, $k ? pack_sockaddr_in(0, INADDR_LOOPBACK) : pack_sockaddr_un("s.sock") or die; listen $s, 1; if (!fork) { socket my $c, $k ? PF_INET : PF_UNIX, SOCK_STREAM, 0; connect $c, getsockname $s; syswrite $c, "hi$k\\n"; exit } accept my $c, $s; print <$c> } unlink "s.sock"'`,
    "hi0\nhi1\n",
  ),
];

const SURROUNDINGS: readonly Usability[] = [
  says(
    "locale",
    "counts characters of UTF-8, not bytes",
    `printf '\\303\\251\\342\\202\\254' | wc -m`,
    "2\n",
  ),
  {
    id: "usability.user-lookup",
    title: "finds its own user by number and by name",
    program: bare(
      `perl -e 'my @u = getpwuid($<); my @n = getpwnam($u[0]); my $g = getgrgid($( + 0); print join(" ", $n[2] == $< ? "same" : "other", length $g ? "group" : "none", $u[7]), "\\n"'`,
    ),
    complaint: (seen) =>
      exits(0)(seen) ??
      (/^same group \/\S*\n$/.test(seen.stdout.toString()) ? undefined : seen.stdout.toString()),
  },
  {
    id: "usability.dns-fails-fast",
    title: "is told quickly that a name does not resolve",
    program: bare(
      `perl -e 'use POSIX (); my $t = (POSIX::times())[0]; my $a = gethostbyname("callgate-selftest.invalid"); my $l = gethostbyname("localhost"); printf "%s %s %d\\n", defined $a ? "found" : "none", defined $l ? "localhost" : "-", 10 * ((POSIX::times())[0] - $t)'`,
    ),
    complaint: (seen) => {
      const [, ms = "-1"] = /^none localhost (\d+)$/m.exec(seen.stdout.toString()) ?? [];
      return Number(ms) >= 0 && Number(ms) < DNS_MS_MAX
        ? undefined
        : `${seen.stdout.toString().trim()} ms, ${seen.stderr.toString()}`;
    },
  },
  says(
    "time",
    "knows the time and the processors",
    `[ "$(date +%Y)" -gt 2000 ] && [ "$(nproc)" -gt 0 ] && grep -c . /proc/uptime`,
    "1\n",
  ),
];

/** Programs people use, each where the host has it. */
function toolchains(): readonly Usability[] {
  const git = "git -c init.defaultBranch=main -c user.name=a -c user.email=a@b";
  const all = [
    says(
      "git",
      "makes a repository and a commit with git",
      `cd "$(mktemp -d)" && ${git} init -q . && echo x > a && ${git} add a && ${git} commit -qm one && ${git} log --format=%s && ${git} fsck`,
      "one\n",
    ),
    says(
      "python",
      "runs Python, with threads, a subprocess and a pool",
      `/usr/bin/python3 -c '
import threading, subprocess, multiprocessing
out = []
t = [threading.Thread(target=lambda i=i: out.append(i)) for i in range(8)]
[x.start() for x in t]; [x.join() for x in t]
print(sum(out), subprocess.check_output(["echo", "sub"]).decode().strip(), multiprocessing.Lock() is not None)'`,
      "28 sub True\n",
    ),
    says(
      "compiler",
      "compiles, links and runs a program, with threads",
      `cd "$(mktemp -d)" && printf '#include <pthread.h>\\n#include <stdio.h>\\nstatic void *f(void *a) { return a; }\\nint main(void) { pthread_t t[8]; long s = 0; void *r; for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, f, (void *)i); for (int i = 0; i < 8; i++) { pthread_join(t[i], &r); s += (long)r; } printf("%%ld\\\\n", s); return 0; }\\n' > a.c && cc -O1 -pthread -o a a.c && ./a`,
      "28\n",
    ),
  ];
  return all.map((use) => ({ ...use, ifInstalled: true }));
}

/** The Node that runs the gate; a profile opens it by name. */
function node(): Usability {
  const script = `const { Worker } = require("node:worker_threads"); const { execFileSync } = require("node:child_process");
require("node:fs").writeFileSync("node.txt", "x"); const w = new Worker("require('node:worker_threads').parentPort.postMessage(7)", { eval: true });
w.on("message", (m) => { console.log(m, execFileSync("echo", ["sub"]).toString().trim()); w.terminate(); });`;
  return {
    id: "usability.node",
    title: "runs Node, with a worker thread and a subprocess",
    program: { argv: [realpathSync(process.execPath), "-e", script] },
    complaint: (seen) => exits(0)(seen) ?? differs(seen.stdout, Buffer.from("7 sub\n")),
  };
}

export const USABILITY: readonly Usability[] = [
  ...STREAMS,
  ...ENDS,
  ...PLACES,
  ...SURROUNDINGS,
  ...toolchains(),
  node(),
];
