import { GateError } from "./errors.ts";
import { type Digest, parseDigest } from "./ids.ts";

/** The root file system that a tool sees, below everything it is granted. */
export type Root =
  /** The host's `/usr`, read-only, with a small `/etc` of our own. */
  | { readonly from: "host" }
  /** A folder of this host, read-only; absolute. */
  | { readonly from: "folder"; readonly path: string }
  /** A manifest in an OCI image layout (image-spec, image-layout.md) on this host. */
  | { readonly from: "layout"; readonly path: string; readonly digest: Digest }
  /** An image that a container engine holds: `NAME@sha256:…`. */
  | { readonly from: "image"; readonly reference: string };

/** As it is asked for: paths may be relative, and a layout with one manifest needs no digest. */
export type RootRequest =
  | Exclude<Root, { readonly from: "layout" }>
  | { readonly from: "layout"; readonly path: string; readonly digest?: Digest };

const REMEDY = "write `host`, `folder:PATH`, `oci:PATH[@sha256:DIGEST]` or `image:NAME@sha256:DIGEST`";
/** Distribution's reference grammar, without a tag: a tag can be moved. */
const REFERENCE =
  /^(?:[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::\d{1,5})?\/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:\/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*@sha256:[0-9a-f]{64}$/;
const TEXT_LENGTH_MAX = 4096;

/** Reads `host`, `folder:PATH`, `oci:PATH[@sha256:…]`, `image:NAME@sha256:…`. @throws GateError `ERR_USAGE`. */
export function parseRoot(text: string): RootRequest {
  if (text.length > TEXT_LENGTH_MAX || /[\x00-\x1f\x7f]/.test(text)) {
    throw new GateError("ERR_USAGE", "a root file system's name is too long or holds a control character");
  }
  if (text === "host") return { from: "host" };
  const [, scheme, rest = ""] = /^(folder|oci|image):(.+)$/.exec(text) ?? [];
  if (scheme === "folder") return { from: "folder", path: rest };
  if (scheme === "image" && REFERENCE.test(rest)) return { from: "image", reference: rest };
  if (scheme === "oci") {
    const [, path = rest, digest] = /^(.+)@(sha256:[^@/]*)$/.exec(rest) ?? [];
    return { from: "layout", path, ...(digest === undefined ? {} : { digest: parseDigest(digest) }) };
  }
  throw new GateError("ERR_USAGE", `\`${text}\` names no root file system`, { remedy: REMEDY });
}

/** As `parseRoot` reads it. */
export function formatRoot(root: RootRequest): string {
  switch (root.from) {
    case "host":
      return "host";
    case "folder":
      return `folder:${root.path}`;
    case "layout":
      return `oci:${root.path}${root.digest === undefined ? "" : `@${root.digest}`}`;
    case "image":
      return `image:${root.reference}`;
    default:
      return root satisfies never;
  }
}
