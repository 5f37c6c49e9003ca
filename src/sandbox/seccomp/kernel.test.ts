/** The default program in the real kernel, loaded by bubblewrap: what works inside, and what does not. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { CANARY_PID } from "./canary.ts";
import { defaultSeccomp, seccompArch } from "./default.ts";
import { syscallNumber } from "./resolve.ts";

const arch = seccompArch(process.arch) ?? "x86-64";
const { program, canaryErrno } = defaultSeccomp(arch);
const folder = mkdtempSync(join(tmpdir(), "callgate-seccomp-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "default.bpf");
writeFileSync(file, program);
chmodSync(folder, 0o755);
// The Node that runs this may lie in a folder that the sandbox's user cannot enter.
const nodeCopy = join(folder, "node");
copyFileSync(process.execPath, nodeCopy);
const NODE = "/tmp/node";

interface Result {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in a fresh sandbox, with the filter or, as a control, without. */
function inside(command: readonly string[], filtered = true): Result {
  const fd = openSync(file, "r");
  try {
    const sandbox = [
      "--unshare-all",
      "--die-with-parent",
      "--ro-bind",
      "/",
      "/",
      "--dev",
      "/dev",
      "--proc",
      "/proc",
    ];
    const node = ["--ro-bind", nodeCopy, NODE];
    const place = ["--tmpfs", "/tmp", ...node, "--chdir", "/tmp", "--setenv", "HOME", "/tmp"];
    const filter = filtered ? ["--seccomp", "3"] : [];
    const root = process.getuid?.() === 0;
    const { status, signal, stdout, stderr } = spawnSync(
      "bwrap",
      [...sandbox, ...place, ...filter, "--", ...command],
      {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe", fd],
        env: { PATH: "/usr/local/bin:/usr/bin:/bin:/usr/local/go/bin", LC_ALL: "C" },
        timeout: 120_000,
        // Never the host's root: see sandbox.md, "Facts that bite".
        ...(root && { uid: 65533, gid: 65533 }),
      },
    );
    return { status, signal, stdout: stdout ?? "", stderr: stderr ?? "" };
  } finally {
    closeSync(fd);
  }
}

/** Why a test of `name` is skipped, or false. */
function without(name: string): string | false {
  return inside(["sh", "-c", `command -v ${name}`], false).status === 0
    ? false
    : `needs ${name} in the sandbox`;
}

const unavailable =
  inside(["true"], false).status === 0 ? false : "needs a working bwrap: apt-get install bubblewrap";

describe("the default program in this kernel", { skip: unavailable }, () => {
  function works(command: readonly string[], expected: RegExp): void {
    const { status, stdout, stderr } = inside(command);
    assert.equal(status, 0, stderr);
    assert.match(stdout, expected);
  }

  describe("what works", () => {
    it("is loaded: the kernel says so", () => {
      works(
        ["grep", "-E", "^Seccomp(_filters)?:", "/proc/self/status"],
        /Seccomp:\s*2\nSeccomp_filters:\s*1/,
      );
    });

    it("bash and coreutils: pipes, FIFOs, job control, temporary files", () => {
      const script = `set -e; mkfifo f; (echo b; echo a) > f & sort f; wait; cp -a /etc/passwd p; chmod 600 p; ln -s p l
        touch -d yesterday p; stat -c %a p; mktemp > /dev/null; ls -la | wc -l; sleep 0.01; timeout 5 true; tar cf t.tar p; xargs -P4 -n1 echo < p > /dev/null`;
      works(["bash", "-c", script], /^a\nb\n600\n\d+\n$/);
    });

    it("git: a repository, a commit, a worktree", { skip: without("git") }, () => {
      const script = `set -e; git init -q r; cd r; echo 1 > a; git add a
        git -c user.name=n -c user.email=e commit -qm first; git worktree add -q ../w; git -C ../w log --format=%s; git gc -q`;
      works(["bash", "-c", script], /^first$/m);
    });

    it("this Node: workers, children, sockets, watches, asynchronous files", () => {
      const script = `const { Worker } = require("node:worker_threads");
        const { execSync } = require("node:child_process");
        const net = require("node:net");
        const fs = require("node:fs");
        fs.watch("/tmp").close();
        const server = net.createServer((socket) => socket.end("pong")).listen("/tmp/s", () => {
          net.connect("/tmp/s").on("data", async (data) => {
            server.close();
            await fs.promises.writeFile("/tmp/x", data);
            const worker = new Worker('require("node:worker_threads").parentPort.postMessage(process.version)', { eval: true });
            worker.on("message", (version) => console.log(version, String(fs.readFileSync("/tmp/x")), String(execSync("echo child"))));
          });
        });`;
      works([NODE, "-e", script], /^v\d+\S+ pong child/);
    });

    it("Python: threads, processes, names without netlink", { skip: without("python3") }, () => {
      const script = `import threading, multiprocessing, socket, subprocess, tempfile
def main():
    t = threading.Thread(target=print, args=("thread",)); t.start(); t.join()
    with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
    print(socket.getaddrinfo("127.0.0.1", 80)[0][4]); print(socket.getaddrinfo("localhost", 80)[0][4])
    print(subprocess.check_output(["echo", "child"])); tempfile.TemporaryFile().write(b"x")
if __name__ == "__main__": main()`;
      works(["python3", "-c", script], /thread\n\[1, 2\]\n\('127.0.0.1', 80\)[\s\S]*child/);
    });

    it("a compiler and what it makes", { skip: without("gcc") }, () => {
      const source =
        '#include <stdio.h>\n#include <threads.h>\nint f(void*p){puts(p);return 0;}\nint main(){thrd_t t;thrd_create(&t,f,"thread");return thrd_join(t,0);}';
      works(["bash", "-c", 'printf "%s" "$0" > a.c && gcc -O2 a.c -o a && ./a', source], /^thread$/m);
    });

    it("a Go program: the go tool itself", { skip: without("go") }, () => {
      works(
        ["bash", "-c", "go version; go env GOMAXPROCS GOOS; go list -f '{{.Name}}' fmt"],
        /^go version go1[\s\S]*^fmt$/m,
      );
    });

    it("a JVM", { skip: without("java") }, () => {
      const source =
        'class A { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> System.out.println("jvm")); t.start(); t.join(); } }';
      works(["bash", "-c", 'printf "%s" "$0" > A.java && java A.java', source], /^jvm$/m);
    });

    it("rg and jq", { skip: without("rg") || without("jq") }, () => {
      works(["bash", "-c", "rg -c root /etc/passwd; jq -n '1+1'"], /^\d+\n2\n$/);
    });
  });

  describe("what does not", () => {
    /** Makes syscalls from perl (perl-base is in every Debian) and answers their errnos, 0 for success. */
    function errnos(calls: readonly (readonly (string | number)[])[], filtered: boolean): number[] {
      const list = calls.map(([name = "", ...args]) => {
        const values = args.map((arg) => (typeof arg === "string" ? `"${arg}"` : arg)).join(", ");
        // From an array, since perl's syscall wants strings it may write to.
        return `@a = (${values}); push @e, syscall(${syscallNumber(arch, String(name))}, @a) == -1 ? $! + 0 : 0;`;
      });
      const { stdout, stderr, status } = inside(
        ["perl", "-e", `my (@a, @e); ${list.join(" ")} print "@e";`],
        filtered,
      );
      assert.equal(status, 0, stderr);
      return stdout.split(" ").map(Number);
    }

    const EPERM = 1;
    const ENOSYS = 38;
    const EAFNOSUPPORT = 97;
    const cwd = -100;
    const upper = 2 ** 32;
    /** Calls which without the filter succeed or fail in another way. */
    const refused: readonly (readonly [errno: number, ...call: (string | number)[]])[] = [
      [EPERM, "unshare", 0],
      [EPERM, "setns", 0, 0],
      [EPERM, "ioctl", 0, 0x5412, 0],
      [EPERM, "ioctl", 0, 0x5412 + upper, 0],
      [EPERM, "ioctl", 0, 0x541c, 0],
      [EPERM, "fchmodat", cwd, "/tmp", 0o4755],
      [EPERM, "fchmodat", cwd, "/tmp", 0o2755 + upper],
      [EPERM, "openat", cwd, "/tmp/suid", 0o101, 0o4755],
      [EPERM, "mknodat", cwd, "/tmp/null", 0o100000 + 0o2755, 0],
      [EPERM, "personality", 0x0040000],
      [EPERM, "keyctl", 0, 0, 0],
      [EPERM, "add_key", 0, 0, 0, 0, 0],
      [EPERM, "ptrace", 0x4206, 999999, 0, 0],
      [EPERM, "process_vm_readv", 999999, 0, 0, 0, 0, 0],
      [EPERM, "kcmp", 999999, 999999, 0, 0, 0],
      [EPERM, "name_to_handle_at", cwd, 0, 0, 0, 0],
      [EPERM, "perf_event_open", 0, 0, 0, 0, 0],
      [EPERM, "socket", 2, 1, 132],
      [EAFNOSUPPORT, "socket", 16, 3, 0],
      [EAFNOSUPPORT, "socket", 16 + upper, 3, 0],
      [ENOSYS, "clone3", 0, 0],
      [ENOSYS, "openat2", cwd, 0, 0, 0],
      [canaryErrno, "kill", CANARY_PID, 0],
      [canaryErrno, "kill", CANARY_PID + upper, 9],
    ];

    it("fails with the errno of the profile, and without the filter in another way or not at all", () => {
      const calls = refused.map(([, ...call]) => call);
      const [filtered, plain] = [errnos(calls, true), errnos(calls, false)];
      for (const [at, [errno, ...call]] of refused.entries()) {
        assert.equal(filtered[at], errno, `${call.join(" ")} inside`);
        assert.notEqual(plain[at], errno, `${call.join(" ")} without the filter`);
      }
    });

    it("refuses, as the kernel may too, what is refused on most hosts", () => {
      const calls = [
        "mount",
        "pivot_root",
        "fsopen",
        "bpf",
        "userfaultfd",
        "io_uring_setup",
        "reboot",
        "init_module",
        "syslog",
      ];
      assert.deepEqual(
        errnos(
          calls.map((name) => [name, 0, 0, 0, 0, 0]),
          true,
        ),
        calls.map(() => EPERM),
      );
    });

    it("makes no namespace with clone", () => {
      const flags = [0x1000_0000, 0x2000_0000, 0x4000_0000, 0x2_0000];
      assert.deepEqual(
        errnos(
          flags.map((flag) => ["clone", flag + 17, 0, 0, 0, 0]),
          true,
        ),
        flags.map(() => EPERM),
      );
    });

    it("shows its canary to bash", () => {
      const { stderr, status } = inside(["bash", "-c", `kill -0 ${CANARY_PID}`]);
      assert.notEqual(status, 0);
      assert.match(stderr, new RegExp(`Unknown error ${canaryErrno}`));
      assert.match(inside(["bash", "-c", `kill -0 ${CANARY_PID}`], false).stderr, /No such process/);
    });

    it("kills a program that makes 32-bit calls", {
      skip: arch !== "x86-64" ? "x86-64 only" : without("gcc"),
    }, () => {
      const source = 'int main(){int r;__asm__ volatile("int $0x80":"=a"(r):"a"(20):"memory");return 0;}';
      const script = 'printf "%s" "$0" > a.c && gcc a.c -o a && exec ./a';
      // 128 + SIGSYS, as bubblewrap reports it.
      assert.equal(inside(["bash", "-c", script, source]).status, 159);
      assert.equal(inside(["bash", "-c", script, source], false).status, 0);
    });
  });
});
