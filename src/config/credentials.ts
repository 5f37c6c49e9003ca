import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { GateError } from "../contract/errors.ts";
import type { Json, JsonObject } from "../contract/json.ts";
import { CREDENTIALS_HINTS } from "./credentials-hints.ts";
import { type CredentialKind, credentialsSchema, type WrittenCredential } from "./credentials-schema.ts";
import { type ParsedDocument, parseDocument, problemAt, validate } from "./document.ts";

/** In each of `GatePaths.configDirs`; never in a project. */
export const CREDENTIALS_FILE = "credentials.yaml";

/** Where a secret comes from, on the gateway's side. */
export type SecretSource =
  | { readonly environment: string }
  | { readonly file: string }
  | { readonly command: readonly string[] };

/** How it reaches the host. */
type CredentialForm =
  | { readonly kind: "bearer" }
  | { readonly kind: "basic"; readonly user: string }
  | { readonly kind: "header"; readonly header: string; readonly prefix?: string }
  | { readonly kind: "query"; readonly parameter: string }
  | { readonly kind: "sigv4"; readonly region: string; readonly service: string }
  | { readonly kind: "placeholder" };

/** One credential as its file says it. */
export interface CredentialSettings {
  readonly name: string;
  /** Lower case; with a port where it is not the scheme's own. */
  readonly host: string;
  readonly from: SecretSource;
  readonly how: CredentialForm;
  readonly variable?: string;
  readonly shape?: string;
  /** Tool names; `*` stands for any run of characters without a dot, alone for every tool. */
  readonly tools: readonly string[];
  /** Unset: in every one. */
  readonly environments?: readonly string[];
  readonly maskResponses: boolean;
  /** It may be sent without TLS. */
  readonly allowClear: boolean;
}

/** What each kind says beside itself. */
const KEYS = {
  bearer: [],
  basic: ["user"],
  header: ["header", "prefix"],
  query: ["parameter"],
  sigv4: ["region", "service"],
  placeholder: [],
} as const satisfies Readonly<Record<CredentialKind, readonly (keyof WrittenCredential)[]>>;
const OPTIONAL_KEYS: ReadonlySet<string> = new Set(["prefix"]);

/** Parses one credential's own form, where keys depend on its kind. */
function formOf(document: ParsedDocument, name: string, written: WrittenCredential): CredentialForm {
  const { kind } = written;
  const mine: readonly string[] = KEYS[kind];
  for (const key of Object.values(KEYS).flat()) {
    if (written[key] !== undefined && !mine.includes(key))
      throw problemAt(document, ["credentials", name, key], `\`${key}\` says nothing for \`kind: ${kind}\``, {
        onKey: true,
        remedy: "remove it, or write another kind",
      });
    if (written[key] === undefined && mine.includes(key) && !OPTIONAL_KEYS.has(key))
      throw problemAt(document, ["credentials", name, "kind"], `\`kind: ${kind}\` needs \`${key}\``, {
        remedy:
          CREDENTIALS_HINTS.find(({ path }) => path.endsWith(`.${key}`))?.remedy ??
          `add \`${key}\` beside it`,
      });
  }
  if (kind === "placeholder" && written.variable === undefined)
    throw problemAt(document, ["credentials", name, "kind"], "`kind: placeholder` needs `variable`", {
      remedy: "name the variable in which the tool finds its placeholder",
    });
  const form = Object.fromEntries(["kind", ...mine].map((key) => [key, written[key as "kind"]]));
  return Object.freeze(
    Object.fromEntries(Object.entries(form).filter(([, value]) => value !== undefined)),
  ) as unknown as CredentialForm;
}

function sourceOf(document: ParsedDocument, name: string, from: WrittenCredential["from"]): SecretSource {
  if (Object.keys(from).length === 1) return from as SecretSource;
  throw problemAt(document, ["credentials", name, "from"], "a secret comes from one place", {
    remedy: "write one of `environment`, `file` and `command`",
  });
}

/** Of a document's credentials those with these names: a fault in another is no matter of theirs. */
function only(document: ParsedDocument, wanted: readonly string[]): ParsedDocument {
  const { value } = document;
  if (!isMap(value) || !isMap(value["credentials"])) return document;
  const kept = Object.entries(value["credentials"]).filter(([name]) => wanted.includes(name));
  return { ...document, value: { ...value, credentials: Object.fromEntries(kept) } };
}

function isMap(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Parses the text of a `credentials.yaml`, by name.
 * @param wanted the only ones that are looked at; unset: all
 * @throws GateError `ERR_CONFIG_SYNTAX` or `ERR_CONFIG_INVALID` with the place.
 */
export function parseCredentials(
  text: string,
  file: string,
  wanted?: readonly string[],
): ReadonlyMap<string, CredentialSettings> {
  const whole = parseDocument(text, file);
  const document = wanted === undefined ? whole : only(whole, wanted);
  const { credentials } = validate(document, credentialsSchema, [], CREDENTIALS_HINTS);
  return new Map(
    Object.entries(credentials).map(([name, written]) => {
      const { host, from, variable, shape, tools, environments, maskResponses, allowClear } = written;
      const settings: CredentialSettings = {
        name,
        host,
        from: sourceOf(document, name, from),
        how: formOf(document, name, written),
        ...(variable === undefined ? {} : { variable }),
        ...(shape === undefined ? {} : { shape }),
        tools,
        ...(environments === undefined ? {} : { environments }),
        maskResponses,
        allowClear,
      };
      return [name, settings];
    }),
  );
}

/**
 * The credentials of a file; undefined where there is none.
 * @param wanted the only ones that are looked at; unset: all
 * @throws GateError `ERR_CONFIG_*`: also where somebody else could have written it.
 */
export function readCredentials(
  path: string,
  wanted?: readonly string[],
): ReadonlyMap<string, CredentialSettings> | undefined {
  const text = readOwn(path);
  return text === undefined ? undefined : parseCredentials(text, path, wanted);
}

/**
 * The names of a file's credentials, well-formed or not; undefined where there is no file.
 * @throws GateError as `readCredentials`.
 */
export function readCredentialNames(path: string): readonly string[] | undefined {
  const text = readOwn(path);
  if (text === undefined) return undefined;
  const { value } = parseDocument(text, path);
  return isMap(value) && isMap(value["credentials"]) ? Object.keys(value["credentials"]) : [];
}

function readOwn(path: string): string | undefined {
  let fd: number;
  try {
    // Not to wait for the other end of a pipe.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw invalid(
      path,
      `the file cannot be read (${code})`,
      "make it readable for the gateway's user",
      cause,
    );
  }
  try {
    const stats = fstatSync(fd);
    const { uid, mode } = stats;
    if (!stats.isFile()) throw invalid(path, "this is not a regular file", "put a regular file there");
    if (uid !== process.geteuid?.() && uid !== 0)
      throw invalid(path, "the file belongs to another user", `chown $(id -u) ${path}`);
    if ((mode & 0o022) !== 0)
      throw invalid(path, "the file can be written by others", `look at it, then \`chmod go-w ${path}\``);
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

function invalid(file: string, message: string, remedy: string, cause?: unknown): GateError {
  return new GateError("ERR_CONFIG_INVALID", message, { place: { file }, remedy, cause });
}
