// Runs every test with Node's own runner; what a contributor runs is what CI runs.
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";

const files = globSync(["src/**/*.test.ts", "test/**/*.test.ts"]).sort();
const args = [
  "--disable-warning=ExperimentalWarning",
  "--test",
  "--test-concurrency=2",
  "--test-timeout=300000",
];
const { status } = spawnSync(process.execPath, [...args, ...process.argv.slice(2), ...files], {
  stdio: "inherit",
});
process.exitCode = status ?? 1;
