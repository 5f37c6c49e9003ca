// Runs every test with Node's own runner; what a contributor runs is what CI runs. Files that are named run alone.
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";

const asked = process.argv.slice(2);
const options = asked.filter((word) => word.startsWith("-"));
const named = asked.filter((word) => !word.startsWith("-"));
const files = named.length > 0 ? named : globSync(["src/**/*.test.ts", "test/**/*.test.ts"]).sort();
const args = [
  "--disable-warning=ExperimentalWarning",
  "--test",
  "--test-concurrency=2",
  "--test-timeout=300000",
];
const { status } = spawnSync(process.execPath, [...args, ...options, ...files], { stdio: "inherit" });
process.exitCode = status ?? 1;
