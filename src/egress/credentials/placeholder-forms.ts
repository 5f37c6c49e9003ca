const BASE64_BITS = 6;

/**
 * The base64 characters that the text alone decides, for each of its three places in a group of three bytes. The
 * characters a placeholder is made of never give one of those in which base64url differs (RFC 4648 5).
 */
function base64Forms(bytes: Buffer): readonly string[] {
  return [0, 1, 2].map((offset) => {
    const shifted = Buffer.concat([Buffer.alloc(offset), bytes]).toString("base64");
    const first = Math.ceil((offset * 8) / BASE64_BITS);
    const end = Math.floor(((offset + bytes.length) * 8) / BASE64_BITS);
    return shifted.slice(first, end);
  });
}

/**
 * Forms in which a placeholder travels: plain, base64 wherever it begins, and hexadecimal. Percent-encoding is undone
 * by whoever looks for them: it may be in parts.
 */
export function placeholderForms(placeholder: string): readonly Buffer[] {
  const bytes = Buffer.from(placeholder);
  const hex = bytes.toString("hex");
  const texts = new Set([placeholder, ...base64Forms(bytes), hex, hex.toUpperCase()]);
  return [...texts].map((text) => Buffer.from(text));
}
