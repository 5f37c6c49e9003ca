/** Test files that run in the VM in one process. Adding a file to a list is all that a new test needs. */
export interface Job {
  readonly name: "root" | "delegated";
  readonly files: readonly string[];
}

export const JOBS: readonly Job[] = [
  // Root, in the root of the only hierarchy: cgroup v2 as on a host without a service manager.
  {
    name: "root",
    files: [
      "test/vm/host.vm.ts",
      "test/vm/apparmor.vm.ts",
      "src/sandbox/limits/limits.test.ts",
      "src/sandbox/limits/cgroup.test.ts",
    ],
  },
  // User 1234, in a leaf of a group that was handed to it: cgroup v2 as in a session of systemd.
  { name: "delegated", files: ["test/vm/delegated.vm.ts", "src/sandbox/limits/limits.test.ts"] },
];

/** For `inside.sh`: one line a job. */
export function jobScript(jobs: readonly Job[]): string {
  const functions = { root: "as_root", delegated: "delegated" } as const;
  return jobs.map(({ name, files }) => `${functions[name]} ${files.join(" ")}`).join("\n");
}
