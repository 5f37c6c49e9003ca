// Everything that has to hold before a change lands, in the order in which failures are cheapest to find.
import { spawnSync } from "node:child_process";

const STEPS = [
  ["format and lint", "biome", ["check", "."]],
  ["types", "tsc", ["-p", "."]],
  ["dead code", "knip", []],
  ["build", "tsc", ["-p", "tsconfig.build.json"]],
  ["package", "publint", ["--strict"]],
  ["package types", "attw", ["--pack", ".", "--profile", "esm-only", "--format", "ascii", "--no-emoji"]],
  ["tests", process.execPath, ["scripts/test.mjs", "--test-reporter=dot"]],
];

for (const [name, command, args] of STEPS) {
  const started = Date.now();
  process.stdout.write(`ok: ${name} … `);
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 64 << 20 });
  process.stdout.write(
    `${status === 0 ? "passed" : "FAILED"} (${((Date.now() - started) / 1000).toFixed(1)} s)\n`,
  );
  if (status !== 0) {
    process.stdout.write(`${stdout}\n${stderr}\n`);
    process.exit(1);
  }
}
