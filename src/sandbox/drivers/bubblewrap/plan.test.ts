import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { DEFAULT_LIMITS, type Profile } from "../../../contract/profile.ts";
import { FD, LAUNCHER } from "../../launcher.ts";
import { type PlanFacts, planBubblewrap } from "./plan.ts";

const PROFILE: Profile = {
  isolation: "process",
  root: { from: "host" },
  files: {
    read: ["/srv/app"],
    write: ["/srv/app/build"],
    hide: ["/srv/app/.env", "/srv/app/keys", "/srv/app/keys/old"],
    protect: ["/srv/app/build/.github", "/srv/app/build/callgate.yaml"],
  },
  network: { mode: "none" },
  environment: { PATH: "/usr/bin" },
  workingDirectory: "/srv/app",
  limits: DEFAULT_LIMITS,
  treeLimits: false,
};

const FACTS: PlanFacts = {
  host: {
    system: ["/usr"],
    links: [
      ["/bin", "usr/bin"],
      ["/lib", "usr/lib"],
      ["/lib64", "usr/lib64"],
    ],
    etcFolders: [["/etc/ssl/certs", "/usr/share/certs"]],
    etcFiles: ["/etc/localtime"],
  },
  kindOf: (path) => (path.includes("keys") ? "dir" : "file"),
  standIns: new Set(["/srv/app/build/.github"]),
  enforced: new Set(["memory", "processes", "cpu"]),
  native: false,
};

/** Set CALLGATE_GOLDEN=write to accept a change of the plan after reading it. */
function golden(name: string, seen: unknown): void {
  const file = new URL(`./${name}.golden.json`, import.meta.url);
  if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(file, `${JSON.stringify(seen, null, 2)}\n`);
  assert.deepEqual(seen, JSON.parse(readFileSync(file, "utf8")));
}

function shown({ args, mounts, absent, files }: ReturnType<typeof planBubblewrap>): unknown {
  return { args: args.map((arg) => (arg === LAUNCHER ? "<launcher>" : arg)), mounts, absent, files };
}

test("a profile with everything in it, limits by cgroup", () => {
  golden("plan-cgroup", shown(planBubblewrap(PROFILE, FACTS)));
});

test("without a cgroup the launcher is given rlimits for memory and processes", () => {
  const { args } = planBubblewrap(PROFILE, { ...FACTS, enforced: new Set() });
  assert.deepEqual(args.slice(-8), [
    ...["-Sd", String(512 * 1024), "-Hd", String(512 * 1024)],
    ...["-Su", "66", "-Hu", "66"],
  ]);
});

test("the native launcher is an open file, and Landlock knows the same mounts", () => {
  golden("plan-native", shown(planBubblewrap(PROFILE, { ...FACTS, native: true })));
});

test("grants come parents first, then protected paths, then hidden ones", () => {
  const { args } = planBubblewrap(PROFILE, FACTS);
  const order = ["/srv/app", "/srv/app/build", "/srv/app/build/callgate.yaml", "/srv/app/.env"].map((path) =>
    args.lastIndexOf(path, args.indexOf("--dir") - 1),
  );
  assert.deepEqual(
    order,
    order.toSorted((a, b) => a - b),
  );
  assert.ok(order.every((at) => at > 0));
});

test("no argument asks for the network, the host's processes or a capability", () => {
  const { args } = planBubblewrap(PROFILE, FACTS);
  for (const name of ["user", "ipc", "pid", "uts", "cgroup", "net"])
    assert.ok(args.includes(`--unshare-${name}`), name);
  assert.ok(args.includes("--disable-userns"));
  for (const never of ["--share-net", "--cap-add", "--dev-bind", "--bind-try"])
    assert.ok(!args.includes(never), never);
});

test("a network of the gate's is joined, not made, and its files lie over the others", () => {
  const network = {
    names: [{ path: "/state/names-0", point: "/etc/resolv.conf" }],
    authorities: [{ path: "/state/roots.pem", point: "/etc/ssl/certs/ca-certificates.crt" }],
  };
  const { args, mounts, late } = planBubblewrap(PROFILE, { ...FACTS, network });
  assert.ok(!args.includes("--unshare-net"));
  assert.deepEqual(late, [...network.names, ...network.authorities]);
  const names = args.lastIndexOf("/etc/resolv.conf");
  assert.deepEqual(args.slice(names - 2, names), ["--file", `${FD.late}`]);
  assert.ok(names > args.indexOf("/etc/resolv.conf"), "after the one it replaces");
  const roots = args.indexOf("/etc/ssl/certs/ca-certificates.crt");
  assert.deepEqual(args.slice(roots - 2, roots), ["--ro-bind-data", `${FD.late + 1}`]);
  assert.deepEqual(mounts.at(-1), { point: "/etc/ssl/certs/ca-certificates.crt", writable: false });
});

test("a profile with staged writes is planned on copies, or not at all", () => {
  const staged: Profile = { ...PROFILE, files: { ...PROFILE.files, staged: true } };
  const copyOf = (path: string): string => path.replace("/srv/app/build", "/state/copy");
  assert.throws(() => planBubblewrap(staged, FACTS), { code: "ERR_INTERNAL" });
  assert.throws(() => planBubblewrap(PROFILE, { ...FACTS, copyOf }), { code: "ERR_INTERNAL" });
  const { args, mounts } = planBubblewrap(staged, { ...FACTS, copyOf });
  assert.equal(args[args.indexOf("/state/copy") - 1], "--bind");
  const build = { point: "/srv/app/build", writable: true, source: "/state/copy" };
  assert.deepEqual(
    mounts.find(({ point }) => point === "/srv/app/build"),
    build,
  );
});

test("the same profile gives the same plan", () => {
  assert.deepEqual(planBubblewrap(PROFILE, FACTS), planBubblewrap(structuredClone(PROFILE), FACTS));
});
