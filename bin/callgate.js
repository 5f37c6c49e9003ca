#!/usr/bin/env node
// In a checkout the source runs as it is; the published package holds only what was built from it.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";

const NODE_MAJOR = 24;

/** A checkout brings its own Node, for machines that have only an older one. */
function runOnNewerNode() {
  const newer = fileURLToPath(new URL("../node_modules/.bin/node", import.meta.url));
  if (!existsSync(newer)) {
    process.stderr.write(`callgate needs Node ${NODE_MAJOR} or newer, and this is ${process.version}\n`);
    process.stderr.write("in a checkout `npm run setup` brings one\n");
    return 69;
  }
  const { status, signal } = spawnSync(newer, process.argv.slice(1), { stdio: "inherit" });
  if (signal !== null) process.kill(process.pid, signal);
  return status ?? 70;
}

async function run() {
  // node:sqlite still announces itself as experimental on every start.
  process.removeAllListeners("warning");
  nodeModule.enableCompileCache();
  const source = new URL("../src/surfaces/cli/main.ts", import.meta.url);
  const built = new URL("../dist/surfaces/cli/main.js", import.meta.url);
  const { main } = await import(existsSync(source) ? source.href : built.href);
  return await main(process.argv.slice(2));
}

const isOld = Number(process.versions.node.split(".")[0]) < NODE_MAJOR;
process.exitCode = isOld ? runOnNewerNode() : await run();
