import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { BASH, launch, NATIVE } from "./launcher.fixture.ts";
import { encodeRequest } from "./launcher.ts";

for (const launcher of [NATIVE, BASH]) {
  describe(`the ${launcher.name} launcher`, {
    skip: launcher.command === undefined && "not built: no cc",
  }, () => {
    test("arguments and environment arrive to the byte, and nothing else does", async () => {
      const argv = ["printf", "%s|", "", "a b", "-n", "$(id)", "ü\n\t'\""];
      const { stdout, code } = await launch(launcher, { argv });
      assert.equal(stdout, "|a b|-n|$(id)|ü\n\t'\"|");
      assert.equal(code, 0);
      const variables = await launch(launcher, {
        argv: ["env", "-0"],
        environment: { PATH: "/usr/bin", A: "1\n2" },
      });
      const seen = variables.stdout.split("\0").filter((line) => !line.startsWith("SHLVL=") && line !== "");
      assert.deepEqual(seen.toSorted(), ["A=1\n2", "PATH=/usr/bin"]);
    });

    test("the tool holds its standard three and no more", async () => {
      // The folder that is listed is open as the next one: a fourth would make that another number.
      const { stdout } = await launch(launcher, { argv: ["ls", "/proc/self/fd"] });
      assert.equal(stdout, "0\n1\n2\n3\n");
    });

    test("100 kB of arguments", async () => {
      const argv = [
        "sh",
        "-c",
        'echo $# "$1"',
        "sh",
        ...Array.from({ length: 10_000 }, (_, i) => `argument${i}`),
      ];
      assert.equal((await launch(launcher, { argv })).stdout, "10000 argument0\n");
    });

    test("nothing starts before it is let go, nor when the gateway is gone", async () => {
      for (const go of [null, "x"]) {
        const { code, stdout } = await launch(launcher, { argv: ["echo", "ran"], go });
        if (launcher === BASH && go === "x") continue; // any byte lets bash go; only the gateway can send one
        assert.deepEqual([code, stdout], [126, ""], String(go));
      }
    });

    test("a request that is not whole starts nothing", async () => {
      const whole = encodeRequest({ PATH: "/usr/bin" }, ["echo", "ran"]);
      const broken = [
        Buffer.alloc(0),
        whole.subarray(0, 3),
        whole.subarray(0, whole.length - "ran\0".length),
        Buffer.concat([whole, Buffer.from("more\0")]),
        Buffer.from("9\x001\0PATH=/usr/bin\0echo\0"),
      ];
      for (const bytes of broken) {
        const { code, stdout, said } = await launch(launcher, { bytes });
        assert.deepEqual([code, stdout], [126, ""], bytes.toString());
        assert.match(said, /^[EX]\d+$/m);
      }
    });

    test("a failed start is told apart from a tool that exits 127", async () => {
      const missing = await launch(launcher, { argv: ["no-such-program"] });
      assert.match(missing.said, launcher === NATIVE ? /^X2$/m : /^E127$/m);
      const exits = await launch(launcher, { argv: ["sh", "-c", "exit 127"] });
      assert.deepEqual([exits.code, /^[EX]/m.test(exits.said)], [127, false]);
    });
  });
}

describe("only the native launcher", { skip: NATIVE.command === undefined && "not built: no cc" }, () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "callgate-native-"));
  });
  after(() => rmSync(folder, { recursive: true }));

  test("names the errno of a failed start", async () => {
    const text = join(folder, "text");
    writeFileSync(text, "no program\n");
    const started = async (argv: readonly string[]): Promise<string | undefined> =>
      /^X(\d+)$/m.exec((await launch(NATIVE, { argv })).said)?.[1];
    assert.equal(await started([text]), "13"); // EACCES: not executable
    chmodSync(text, 0o755);
    assert.equal(await started([text]), "8"); // ENOEXEC: nothing is handed to a shell
    assert.equal(await started([`${text}/below`]), "20"); // ENOTDIR
    assert.equal(await started([""]), "2"); // ENOENT
    assert.equal(await started(["echo", "x".repeat(200_000)]), "7"); // E2BIG: one argument is bounded too
  });

  test("a tool's own SHLVL, UID and the like are its own: no shell reads them", async () => {
    const { stdout } = await launch(NATIVE, { argv: ["env"], environment: { PATH: "/usr/bin" } });
    assert.equal(stdout, "PATH=/usr/bin\n");
  });

  test("Landlock: what no rule names cannot be opened; reading, writing, listing and devices are told apart", async () => {
    const open = join(folder, "open");
    const shut = join(folder, "shut");
    for (const path of [open, shut]) writeFileSync(path, "x");
    const options = [
      "-t",
      shut,
      "-s",
      "/",
      "-r",
      "/usr",
      "-r",
      "/lib64",
      "-r",
      "/lib",
      "-r",
      open,
      "-d",
      "/dev",
    ];
    const script = `cat ${open}; cat ${shut} || echo shut; echo y >${open} || echo read-only; ls / >/dev/null && echo lists`;
    const { said, stdout } = await launch(NATIVE, { argv: ["sh", "-c", script], options });
    assert.match(said, /^K[2-9] 0 13$/m);
    assert.equal(stdout, "xshut\nread-only\nlists\n");
    const wider = [...options, "-w", folder];
    const wrote = await launch(NATIVE, {
      argv: ["sh", "-c", `echo y >${folder}/new && mknod ${folder}/dev c 1 3 2>&1 | grep -c denied`],
      options: wider,
    });
    if (process.geteuid?.() === 0) assert.equal(wrote.stdout, "1\n");
  });

  test("an option it does not know, or a rule for a path that is not there, ends it before it is ready", async () => {
    for (const options of [
      ["-z", "1"],
      ["-t"],
      ["-r", "/usr"],
      ["-l", "7", "1"],
      ["-l", "7", "-1", "1"],
      ["-c", "x"],
      ["bare"],
    ])
      assert.match((await launch(NATIVE, { options })).said, /^L/, options.join(" "));
    const { said, code } = await launch(NATIVE, { options: ["-t", "/etc/passwd", "-r", "/no/such"] });
    assert.match(said, /^Llandlock \/no\/such: No such file or directory$/m);
    assert.equal(code, 126);
  });

  test("rlimits and the canary", async () => {
    const options = ["-l", "7", "64", "65", "-c", "2147483646"];
    const { said, stdout } = await launch(NATIVE, { argv: ["sh", "-c", "ulimit -Sn; ulimit -Hn"], options });
    assert.equal(stdout, "64\n65\n");
    assert.match(said, /^C3$/m); // ESRCH: no seccomp program here
  });

  test("signals a parent ignores or blocks are whole again", async () => {
    const child = ["sh", "-c", "grep -E 'SigBlk|SigIgn' /proc/self/status"];
    const { stdout } = await launch(
      { ...NATIVE, command: ["/usr/bin/env", "--ignore-signal=PIPE", ...(NATIVE.command ?? [])] },
      { argv: child },
    );
    assert.match(stdout, /SigBlk:\t0+\nSigIgn:\t0+\n/);
  });
});

describe("native/launch.c under the sanitizers", { skip: NATIVE.command === undefined && "no cc" }, () => {
  const source = new URL("../../native/", import.meta.url).pathname;
  const sanitized = ["-g", "-O1", "-std=gnu17", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

  test("half a million damaged requests are refused or mean what they say", () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-fuzz-"));
    try {
      const program = join(folder, "fuzz");
      execFileSync("cc", [
        ...sanitized,
        "-Wall",
        "-Wextra",
        "-Wno-unused-function",
        "-Werror",
        "-o",
        program,
        `${source}fuzz.c`,
      ]);
      const output = execFileSync(program, ["500000", "20261124"], { encoding: "utf8" });
      const accepted = Number(/^(\d+) of 500000 accepted$/m.exec(output)?.[1]);
      assert.ok(accepted > 50_000 && accepted < 450_000, output);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a whole life of the launcher is clean", async () => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-asan-"));
    try {
      const program = join(folder, "launch");
      execFileSync("cc", [...sanitized, "-Wall", "-Wextra", "-Werror", "-o", program, `${source}launch.c`]);
      const options = [
        "-l",
        "4",
        "0",
        "0",
        "-c",
        "2147483646",
        "-t",
        "/etc/passwd",
        "-s",
        "/",
        "-r",
        "/usr",
        "-r",
        "/lib64",
        "-d",
        "/proc",
        "-d",
        "/dev",
      ];
      const { stdout, code } = await launch(
        { name: "sanitized", command: [program] },
        { argv: ["echo", "clean"], options },
      );
      assert.deepEqual([stdout, code], ["clean\n", 0]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
