import { GateError } from "../contract/errors.ts";
import { parseDocument } from "./document.ts";
import type { Snapshot } from "./snapshot.ts";

/** PEM (RFC 7468), of certificates and nothing else: a key does not belong there. */
const CERTIFICATES = /^\s*(?:-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+$/;

/**
 * The texts of the files that `egress.authorities` names, as they are in the snapshot.
 * @throws GateError `ERR_CONFIG_INVALID` with the place that names a file of something else.
 */
export function authoritiesIn({ settings, files, config }: Snapshot): readonly string[] {
  return settings.egress.authorities.map((path, index) => {
    const text = files.get(path) ?? "";
    if (CERTIFICATES.test(text)) return text;
    const document = parseDocument(files.get(config) ?? "", config);
    throw new GateError(
      "ERR_CONFIG_INVALID",
      `\`egress.authorities\`: \`${path}\` is not a file of PEM certificates and nothing else`,
      {
        place: document.placeOf(["egress", "authorities", index]),
        remedy: "name a file that holds certificates, each between BEGIN CERTIFICATE and END CERTIFICATE",
      },
    );
  });
}
