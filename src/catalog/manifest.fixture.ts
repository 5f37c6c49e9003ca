import { it } from "node:test";
import { refuses } from "../config/gate-error.fixture.ts";
import type { GateErrorCode } from "../contract/errors.ts";
import type { Tool } from "../contract/tool.ts";
import { parseManifest } from "./manifest.ts";

// biome-ignore lint/suspicious/noTemplateCurlyInString: the manifest's own place
export const WORKSPACE = "${workspace}";
export const parse = (text: string): Tool => parseManifest(text, "t.yaml");

export interface Parts {
  readonly head?: string;
  readonly tier?: string;
  readonly properties?: string;
  readonly input?: string;
  readonly run?: string;
  readonly rest?: string;
}

/** A manifest whose parts stand on known lines: 1 name, 2 description, 3 tier, 4 input, 5 run, 6 rest. */
export function manifest({
  head,
  tier = "low",
  properties = "",
  input,
  run = "command: [x]",
  rest = "",
}: Parts): string {
  const schema = input ?? `{ type: object, properties: { ${properties} }, additionalProperties: false }`;
  return `${head ?? "name: a"}\ndescription: d\ntier: ${tier}\ninput: ${schema}\nrun: { ${run} }\n${rest}\n`;
}

export type Refused = readonly [
  name: string,
  parts: Parts,
  message: RegExp,
  at: string,
  remedy?: RegExp | undefined,
  code?: GateErrorCode,
];

export function each(cases: readonly Refused[], fallback: GateErrorCode = "ERR_CONFIG_INVALID"): void {
  for (const [name, parts, message, at, remedy, code = fallback] of cases) {
    it(`refuses ${name}`, () => {
      const expected = { code, message, at: `t.yaml:${at}` };
      refuses(() => parse(manifest(parts)), remedy === undefined ? expected : { ...expected, remedy });
    });
  }
}
