import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { parseDocument } from "../config/document.ts";
import { credentialsJsonSchema, settingsJsonSchema } from "../config/json-schema.ts";
import { schemaComment } from "../config/schema-comment.ts";
import type { JsonObject } from "../contract/json.ts";
import { manifestJsonSchema } from "./json-schema.ts";

const FOLDER = join(import.meta.dirname, "../../schema");

describe("the schemas for editors", () => {
  const cases: readonly [name: string, make: () => JsonObject][] = [
    ["callgate", settingsJsonSchema],
    ["credentials", credentialsJsonSchema],
    ["tool", manifestJsonSchema],
  ];
  for (const [name, make] of cases) {
    it(`are current: ${name} (CALLGATE_WRITE_SCHEMAS=1 writes them)`, () => {
      const path = join(FOLDER, `${name}.schema.json`);
      const text = `${JSON.stringify(make(), undefined, 2)}\n`;
      if (process.env["CALLGATE_WRITE_SCHEMAS"] === "1") {
        mkdirSync(FOLDER, { recursive: true });
        writeFileSync(path, text);
      }
      assert.equal(readFileSync(path, "utf8"), text);
    });

    it(`describe every key: ${name}`, () => {
      const undescribed = (schema: unknown, path: string): string[] => {
        const { properties = {} } = schema as { properties?: Record<string, { description?: string }> };
        return Object.entries(properties).flatMap(([key, inner]) => [
          ...(inner.description === undefined ? [`${path}.${key}`] : []),
          ...undescribed(inner, `${path}.${key}`),
        ]);
      };
      assert.deepEqual(undescribed(make(), name), []);
    });
  }

  it("are named by a comment, which changes nothing of the file", () => {
    const line = schemaComment("tool", 1);
    assert.equal(line, "# yaml-language-server: $schema=../node_modules/callgate/schema/tool.schema.json");
    assert.deepEqual(parseDocument(`${line}\na: 1\n`, "x").value, { a: 1 });
  });
});
