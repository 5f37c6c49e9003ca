import { randomBytes } from "node:crypto";

const RANDOM_BYTES = 16;

/** What a placeholder may begin with: characters that no encoding of a header or a query changes. */
const SHAPE: RegExp = /^[A-Za-z0-9_.-]{1,32}$/;

/**
 * What stands for a secret inside one sandbox: random, so that whoever sees it learns nothing and it is found by value.
 * @param shape what the tool expects a secret to begin with, such as `ghp_`; fits `SHAPE`
 */
export function newPlaceholder(shape: string = "callgate-"): string {
  if (!SHAPE.test(shape)) throw new RangeError("a placeholder cannot begin with that");
  return `${shape}${randomBytes(RANDOM_BYTES).toString("hex")}`;
}
