import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, it } from "node:test";
import { parseDocument } from "../config/document.ts";
import { refuses } from "../config/gate-error.fixture.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { loadCatalog } from "./catalog.ts";
import { buildCommand } from "./command.ts";
import { digestTool } from "./digest.ts";
import { createSchemaChecker, createValidator } from "./input-schema.ts";

const text = (name: string, rest = "") =>
  `description: d\nname: ${name}\ntier: low\ninput: { type: object, additionalProperties: false }\nrun: { command: [x] }\n${rest}`;
const load = (files: Record<string, string>) => loadCatalog(new Map(Object.entries(files)));

describe("loadCatalog", () => {
  it("holds its tools and what is built in, in the order of their names", () => {
    const catalog = load({ "tools/2.yaml": text("b"), "tools/1.yaml": text("d") });
    assert.deepEqual([...catalog.tools.keys()], ["b", "callgate.exec", "d"]);
    assert.equal(catalog.get("b").name, "b");
    assert.equal(load({}).get("callgate.exec"), EXEC_TOOL);
  });

  it("has a digest that depends on the tools alone", () => {
    const { digest } = load({ "1.yaml": text("a"), "2.yaml": text("b") });
    assert.equal(load({ "9.yaml": text("b"), "8.yaml": text("a") }).digest, digest);
    assert.notEqual(load({ "1.yaml": text("a") }).digest, digest);
    assert.notEqual(load({ "1.yaml": text("a"), "2.yaml": text("b", "categories: [x]") }).digest, digest);
  });

  it("refuses two tools of one name, and names both places", () => {
    refuses(() => load({ "1.yaml": text("a"), "2.yaml": `# later\n${text("a")}` }), {
      code: "ERR_TOOL_DUPLICATE",
      message: /`a` is already named in `1.yaml:2:7`/,
      at: "2.yaml:3:7",
    });
  });

  it("refuses `calls` to a tool there is not", () => {
    refuses(() => load({ "1.yaml": text("repo.read", "calls: [repo.red]") }), {
      code: "ERR_CONFIG_INVALID",
      message: /no tool `repo.red`/,
      at: "1.yaml:6:9",
      remedy: /did you mean `repo.read`/,
    });
    assert.deepEqual(load({ "1.yaml": text("a", "calls: [b]"), "2.yaml": text("b") }).get("a").calls, ["b"]);
  });

  it("names the nearest tool when one is unknown", () => {
    const catalog = load({ "1.yaml": text("repo.search") });
    refuses(() => catalog.get("repo.serach"), {
      code: "ERR_TOOL_UNKNOWN",
      message: /`repo.serach`/,
      remedy: /`repo.search`/,
    });
    refuses(() => catalog.get("__proto__"), { code: "ERR_TOOL_UNKNOWN", message: /./, remedy: /tools list/ });
  });
});

describe("callgate.exec", () => {
  it("carries the digest of its definition", () => {
    const { digest, ...definition } = EXEC_TOOL;
    assert.equal(digest, digestTool(definition));
  });

  it("has a schema that a manifest could have", () => {
    const document = parseDocument(JSON.stringify({ input: EXEC_TOOL.input }), "exec.json");
    createSchemaChecker().check(document, "input", ["input"], EXEC_TOOL.input);
    const validate = createValidator("input").compile(EXEC_TOOL.input);
    assert.ok(
      validate({
        command: ["ls", "-l"],
        files: { read: ["/a"] },
        network: "none",
        cwd: "/w",
        limits: { wallMs: 1 },
      }),
    );
    for (const bad of [
      {},
      { command: [] },
      { command: "ls" },
      { command: ["x"], network: "host" },
      { command: ["x"], shell: true },
      { command: ["x"], environment: ["A=b"] },
    ]) {
      assert.ok(!validate(bad), JSON.stringify(bad));
    }
  });

  it("runs exactly the vector it is given", () => {
    assert.deepEqual(buildCommand(EXEC_TOOL, { command: ["ls", "-l", "", "{x}"] }).argv, [
      "ls",
      "-l",
      "",
      "{x}",
    ]);
  });

  it("is at least medium, frozen to its leaves, and loads no parser", () => {
    assert.equal(EXEC_TOOL.tier, "medium");
    assert.ok(Object.isFrozen(EXEC_TOOL.input["properties"]));
    const script = `
      import { registerHooks } from "node:module";
      registerHooks({ load(url, context, next) { if (url.includes("node_modules")) console.log(url); return next(url, context); } });
      await import("./src/catalog/builtin.ts"); await import("./src/catalog/command.ts");
      await import("./src/config/paths.ts"); await import("./src/config/workspace.ts");
      const { openProject } = await import("./src/config/project.ts");
      await openProject({ root: "/", config: undefined }, "/nowhere");
    `;
    assert.equal(
      execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }),
      "",
    );
  });
});

describe("createValidator", () => {
  const schema = {
    type: "object",
    properties: { a: { type: "string", default: "." }, constructor: {} },
    required: ["constructor"],
    additionalProperties: false,
  };

  it("does not find a required key on the prototype", () => {
    assert.equal(createValidator("input").compile(schema)({}), false);
  });

  it("fills in defaults of an input and leaves an output as it is", () => {
    const input: Record<string, string> = { constructor: "x" };
    createValidator("input").compile(schema)(input);
    assert.equal(input["a"], ".");
    const output: Record<string, string> = { constructor: "x" };
    createValidator("output").compile(schema)(output);
    assert.equal(output["a"], undefined);
  });

  it("checks its formats", () => {
    const validate = createValidator("input").compile({
      type: "object",
      properties: {
        p: { type: "string", format: "workspace-path" },
        f: { type: "string", format: "artifact" },
      },
    });
    assert.ok(validate({ p: "a/b", f: `sha256:${"0".repeat(64)}` }));
    for (const bad of [{ p: "" }, { p: "a\0" }, { f: "sha256:0" }, { f: "x" }]) assert.ok(!validate(bad));
  });
});
