const NAME_BYTES_MAX = 253;
/** RFC 5890 2.3.1: letters, digits, hyphens; and the underscore, which is in names of real hosts (RFC 2181 11). */
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** A last label that makes a name an IPv4 address to some reader: decimal, or hexadecimal. */
const NUMERIC = /^(?:[0-9]+|0x[0-9a-f]*)$/;

/** Whether it is a DNS name as RFC 6066 3 wants one: lower-case ASCII here, no dot at its end, no address. */
export function isHostName(name: string): boolean {
  if (name.length > NAME_BYTES_MAX) return false;
  const labels = name.split(".");
  return labels.every((label) => LABEL.test(label)) && !NUMERIC.test(labels.at(-1) ?? "");
}
