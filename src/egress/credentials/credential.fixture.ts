import assert from "node:assert/strict";
import { inspect } from "node:util";
import { createCredential } from "./create-credential.ts";
import type { GateCredential, OutgoingRequest } from "./credential.ts";
import type { CredentialKind, CredentialOptions, CredentialSpec } from "./kinds.ts";

export const SECRET = "s3cret-of-the-gate";
export const HOST = "api.example.com";

export function credentialOf(
  how: CredentialKind,
  options: CredentialOptions & { readonly secret?: string; readonly spec?: Partial<CredentialSpec> } = {},
): GateCredential {
  const { secret = SECRET, spec = {}, ...rest } = options;
  return createCredential(
    { name: "test-key", host: HOST, how, variable: "TOKEN", masksResponses: true, ...spec },
    async () => secret,
    rest,
  );
}

export function placeholderOf(credential: GateCredential): string {
  const [placeholder = ""] = credential.placeholders;
  assert.notEqual(placeholder, "");
  return placeholder;
}

export function request(
  headers: readonly (readonly [string, string])[] = [],
  target: string = "/",
  host: string = HOST,
): OutgoingRequest {
  return { method: "GET", target, host, headers: headers.map(([name, value]) => [name, value]) };
}

/** Every form in which somebody may come to see an error or an object. */
export function shown(thing: unknown): string {
  const texts = [inspect(thing, { depth: 20, showHidden: true }), JSON.stringify(thing), String(thing)];
  for (let at = thing; at instanceof Error; at = at.cause)
    texts.push(at.message, at.stack ?? "", JSON.stringify({ ...at }));
  return texts.join("\n");
}

/** Asserts that nobody who sees it sees any of the values. */
export function holdsNone(thing: unknown, ...values: readonly string[]): void {
  const text = shown(thing);
  for (const value of values)
    for (const form of [value, Buffer.from(value).toString("base64"), encodeURIComponent(value)])
      assert.ok(!text.includes(form), `it is in ${text}`);
}
