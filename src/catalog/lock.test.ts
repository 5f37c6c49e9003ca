import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { refuses } from "../config/gate-error.fixture.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { loadCatalog } from "./catalog.ts";
import { checkLock, diffLock, lockText, parseLock } from "./lock.ts";

const text = (name: string, more = "") =>
  `name: ${name}\ndescription: d\ntier: low\ninput: { type: object, properties: { p: { type: string, maxLength: 5 } }, additionalProperties: false }\nrun: { command: [x, "--", "{p}"] }\n${more}`;
const load = (...texts: string[]) => loadCatalog(new Map(texts.map((one, index) => [`${index}.yaml`, one])));
const lockOf = (...texts: string[]) => parseLock(lockText(load(...texts)), "callgate.lock");

describe("callgate.lock", () => {
  it("is the same text whatever the order of files and keys", () => {
    assert.equal(lockText(load(text("a"), text("b"))), lockText(load(text("b"), text("a"))));
    assert.equal(
      lockText(load(text("a", "output: text\ncategories: []"))),
      lockText(load(text("a", "categories: []\noutput: text"))),
    );
  });

  it("keeps the definition beside the digest, one value a line, and nothing that is built in", () => {
    const lock = lockText(load(text("a")));
    assert.match(lock, /"maxLength": 5/);
    assert.match(lock, /"digest": "sha256:[0-9a-f]{64}"/);
    assert.ok(lock.endsWith("}\n"));
    assert.doesNotMatch(lock, /callgate\.exec/);
  });

  it("finds no difference to the catalogue it was made of", () => {
    assert.deepEqual(diffLock(lockOf(text("a"), text("b")), load(text("a"), text("b"))), {
      added: [],
      removed: [],
      changed: [],
    });
  });

  it("names what is new, gone and changed, down to the field", () => {
    const now = load(
      text("a", "categories: [x]").replace("maxLength: 5", "maxLength: 6, minLength: 1"),
      text("c"),
    );
    const diff = diffLock(lockOf(text("a"), text("b")), now);
    assert.deepEqual(diff.added, ["c"]);
    assert.deepEqual(diff.removed, ["b"]);
    assert.deepEqual(diff.changed, [
      {
        name: "a",
        fields: [
          { field: "categories", before: [], after: ["x"] },
          { field: "input.properties.p.maxLength", before: 5, after: 6 },
          { field: "input.properties.p.minLength", before: undefined, after: 1 },
        ],
      },
    ]);
  });

  it("lets only what it holds be called", () => {
    const lock = lockOf(text("a"));
    const catalog = load(text("a"), text("b"));
    checkLock(lock, catalog.get("a"));
    checkLock(undefined, catalog.get("b"));
    checkLock(lock, EXEC_TOOL);
    const remedy = /callgate tools lock/;
    refuses(() => checkLock(lock, catalog.get("b")), {
      code: "ERR_LOCK_MISMATCH",
      message: /`b` is not in/,
      remedy,
    });
    const changed = load(text("a", "categories: [x]")).get("a");
    refuses(() => checkLock(lock, changed), { code: "ERR_LOCK_MISMATCH", message: /`a` is not as/, remedy });
  });

  it("refuses a digest that is not of the text beside it, under either name", () => {
    const lock = lockText(load(text("a")));
    const expected = {
      code: "ERR_CONFIG_INVALID",
      message: /`a` is not of the text/,
      at: "callgate.lock:3:5",
    } as const;
    refuses(() => parseLock(lock.replace('"maxLength": 5', '"maxLength": 6'), "callgate.lock"), expected);
    refuses(() => parseLock(lock.replace(/sha256:./, "sha256:x"), "callgate.lock"), expected);
    const renamed = { code: "ERR_CONFIG_INVALID", message: /`b` is not of the text/ } as const;
    refuses(() => parseLock(lock.replace('"a": {', '"b": {'), "callgate.lock"), renamed);
  });

  it("refuses what is no lock", () => {
    refuses(() => parseLock("{}", "callgate.lock"), {
      code: "ERR_CONFIG_INVALID",
      message: /`version` is missing/,
    });
    refuses(() => parseLock('{"version":1,"tools":{},"tools":{}}', "callgate.lock"), {
      code: "ERR_CONFIG_SYNTAX",
      message: /appears twice/,
      at: "callgate.lock:1:25",
    });
    refuses(() => parseLock('{"version":1,"tool":{}}', "callgate.lock"), {
      code: "ERR_CONFIG_INVALID",
      message: /./,
    });
  });
});
