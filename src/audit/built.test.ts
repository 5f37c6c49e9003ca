import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { stateDir } from "./log.fixture.ts";

test("built as it is published, the log finds its writer's thread", (t) => {
  const repository = dirname(dirname(import.meta.dirname));
  const out = `${stateDir(t)}-built`;
  mkdirSync(out);
  symlinkSync(join(repository, "node_modules"), join(out, "node_modules"));
  writeFileSync(join(out, "package.json"), '{"type":"module"}');
  const settings = JSON.parse(readFileSync(join(repository, "tsconfig.build.json"), "utf8")).compilerOptions;
  const files = globSync("src/{audit,store,contract}/*.ts", { cwd: repository })
    .filter((file) => !/\.(?:test|fixture)\.ts$/.test(file))
    .map((file) => join(repository, file));
  const compilerOptions = { ...settings, rootDir: join(repository, "src"), outDir: join(out, "dist") };
  const types = { types: ["node"], typeRoots: [join(repository, "node_modules/@types")] };
  const project = {
    extends: join(repository, "tsconfig.json"),
    compilerOptions: { ...compilerOptions, ...types },
    files,
  };
  writeFileSync(join(out, "tsconfig.json"), JSON.stringify({ ...project, include: [], exclude: [] }));
  execFileSync(join(repository, "node_modules/.bin/tsc"), ["-p", out], { stdio: "inherit" });
  const program = `
    import { openLog } from "./dist/audit/log.js";
    const log = await openLog({ stateDir: ${JSON.stringify(join(out, "state"))}, mode: "worker" });
    const summary = "from a built package";
    const [{ index }] = await log.append([{ record: { kind: "policy", digest: "sha256:0", summary } }]);
    await log.close();
    console.log(index);`;
  writeFileSync(join(out, "program.js"), program);
  const flags = [
    "--disable-warning=ExperimentalWarning",
    "--no-experimental-strip-types",
    join(out, "program.js"),
  ];
  assert.equal(execFileSync(process.execPath, flags, { encoding: "utf8" }).trim(), "1");
});
