import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GateError, type Place } from "../contract/errors.ts";
import { parseDocument } from "./document.ts";

/** PEM (RFC 7468), of certificates and nothing else: a key does not belong there. */
const CERTIFICATES = /^(?:\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$/;
const AUTHORITIES_BYTES_MAX = 1024 * 1024;

/** A project, and what its configuration says under `egress.authorities`. */
export interface NamedAuthorities {
  readonly root: string;
  /** Name of the configuration in `root`. */
  readonly config: string | undefined;
  readonly paths: readonly string[];
}

/**
 * The text of each file of authorities.
 * @throws GateError `ERR_CONFIG_INVALID` with the place that names the file.
 */
export function readAuthorities(named: NamedAuthorities): readonly string[] {
  return named.paths.map((path, index) => {
    const problem = (why: string, cause?: unknown): GateError =>
      new GateError("ERR_CONFIG_INVALID", `\`egress.authorities\`: \`${path}\` ${why}`, {
        cause,
        remedy: "name a file that holds certificates, each between BEGIN CERTIFICATE and END CERTIFICATE",
        ...placed(named, index),
      });
    let text: string;
    try {
      text = readFileSync(join(named.root, path), "utf8");
    } catch (cause) {
      throw problem(`cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause);
    }
    if (text.length > AUTHORITIES_BYTES_MAX) throw problem(`is larger than ${AUTHORITIES_BYTES_MAX} bytes`);
    if (!CERTIFICATES.test(text)) throw problem("is not a file of PEM certificates and nothing else");
    return text;
  });
}

/** Read once more for an error alone: settings do not remember where they stand. */
function placed({ root, config }: NamedAuthorities, index: number): { readonly place?: Place } {
  if (config === undefined) return {};
  try {
    const document = parseDocument(readFileSync(join(root, config), "utf8"), config);
    return { place: document.placeOf(["egress", "authorities", index]) };
  } catch {
    return { place: { file: config } };
  }
}
