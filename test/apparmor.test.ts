import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const FOLDER = resolve(import.meta.dirname, "../native/apparmor");
const PARSER = "apparmor_parser";
const version = /parser version (\d+)/.exec(
  spawnSync(PARSER, ["--version"], { encoding: "utf8" }).stdout ?? "",
)?.[1];
const skip = version === undefined ? "apparmor_parser is not installed (package apparmor)" : false;

/** Compiles without loading, so that it needs neither root nor AppArmor in this kernel. */
function parse(text: string): { readonly status: number | null; readonly stderr: string } {
  return spawnSync(PARSER, ["--skip-kernel-load", "--skip-cache"], { input: text, encoding: "utf8" });
}

const profile = (name: string): string => readFileSync(join(FOLDER, name), "utf8");

test("the profile for tools is one that the parser takes", { skip }, () => {
  const { status, stderr } = parse(profile("callgate"));
  assert.equal(status, 0, stderr);
  assert.notEqual(parse(profile("callgate").replace("deny mount,", "deny mounts,")).status, 0);
});

test("the profile for bubblewrap is one that AppArmor 4 takes, and an older one all but its one rule", {
  skip,
}, () => {
  const text = profile("callgate-bwrap");
  if (Number(version) >= 4) {
    assert.equal(parse(text).status, 0, parse(text).stderr);
    return;
  }
  // User namespaces are a class of rules that came with AppArmor 4; where it is older, nothing restricts them either.
  const older = text.replace("<abi/4.0>", "<abi/3.0>");
  assert.match(parse(older).stderr, /at line \d+: syntax error, unexpected TOK_END_OF_RULE/);
  const { status, stderr } = parse(older.replace("  userns,\n", ""));
  assert.equal(status, 0, stderr);
});
