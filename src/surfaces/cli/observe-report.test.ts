import assert from "node:assert/strict";
import { it } from "node:test";
import { parse } from "yaml";
import { observeReport } from "./observe-report.ts";

it("the report of an observing run has the fragment, the command, and what is in neither", () => {
  const yaml = 'sandbox:\n  files:\n    read:\n      - "/opt/a" # read once\n  network: none\n';
  const text = observeReport({ yaml, flags: ["--read", "/opt/a"], notes: ['"/b" once: withheld'] }, [
    "x",
    "\u001b[2J",
  ]);
  const [fragment = "", command = ""] = text.split("# The same for one command:\n");
  assert.deepEqual(parse(fragment), { sandbox: { files: { read: ["/opt/a"] }, network: "none" } });
  assert.match(command, /^callgate exec --read \/opt\/a -- x /);
  assert.match(text, /# - "\/b" once: withheld/);
  assert.ok(!text.includes("\u001b"), "no argument acts on the terminal");
  assert.doesNotMatch(observeReport({ yaml, flags: [], notes: [] }, ["x"]), /Not in it/);
});
