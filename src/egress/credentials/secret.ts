import { Refusal } from "../visit.ts";
import type { CredentialKind } from "./kinds.ts";
import type { AwsKeys } from "./sign.ts";

/** A shorter value cannot be masked: it would stand in half of every text. */
const SECRET_LENGTH_MIN = 6;

/** RFC 9110 5.5: beyond these, what a header holds is read differently by different hosts. */
const HEADER_TEXT = /^[\t\x20-\x7e]+$/;
/** RFC 7617 2: no control characters; base64 carries the rest. */
const BASIC_TEXT = /^[\x20-\x7e\xa0-\xff]+$/;

/** A secret that was fetched and checked. */
export interface Held {
  /** Empty where requests are signed. */
  readonly secret: string;
  readonly keys?: AwsKeys;
  /** All that must never be seen. */
  readonly masked: readonly string[];
}

/** @throws Refusal whose words do not hold it. */
function checked(name: string, value: unknown, allowed: RegExp, what = "secret"): string {
  if (typeof value !== "string" || value.length < SECRET_LENGTH_MIN)
    throw new Refusal(
      `the ${what} of credential \`${name}\` is shorter than ${SECRET_LENGTH_MIN} characters`,
    );
  if (!allowed.test(value))
    throw new Refusal(`the ${what} of credential \`${name}\` holds a character that cannot be sent`);
  return value;
}

function parseKeys(name: string, text: string): AwsKeys {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // The parser's own words quote the text.
    parsed = undefined;
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw new Refusal(`the secret of credential \`${name}\` is not a JSON object of keys`);
  const { accessKeyId, secretAccessKey, sessionToken } = parsed as Readonly<Record<string, unknown>>;
  return {
    accessKeyId: checked(name, accessKeyId, HEADER_TEXT, "accessKeyId"),
    secretAccessKey: checked(name, secretAccessKey, HEADER_TEXT, "secretAccessKey"),
    ...(sessionToken === undefined || sessionToken === null
      ? {}
      : { sessionToken: checked(name, sessionToken, HEADER_TEXT, "sessionToken") }),
  };
}

/** @throws Refusal whose words do not hold the secret. */
export function holdSecret(name: string, how: CredentialKind, text: string): Held {
  if (how.kind === "sigv4") {
    const keys = parseKeys(name, text);
    const { secretAccessKey, sessionToken } = keys;
    return {
      secret: "",
      keys,
      masked: [secretAccessKey, ...(sessionToken === undefined ? [] : [sessionToken])],
    };
  }
  const secret = checked(name, text, how.kind === "basic" ? BASIC_TEXT : HEADER_TEXT);
  if (how.kind !== "basic") return { secret, masked: [secret] };
  return { secret, masked: [secret, basicWord(how.user, secret)] };
}

/** RFC 7617 2.1: as UTF-8. */
export function basicWord(user: string, secret: string): string {
  return Buffer.from(`${user}:${secret}`).toString("base64");
}
