import { readFileSync, statSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { GateError } from "../../contract/errors.ts";
import { type Digest, digestOf, parseDigest } from "../../contract/ids.ts";

/** The largest index, manifest or configuration that is read. */
export const DOCUMENT_BYTES_MAX: number = 4 * 1024 * 1024;
/** How deep an index may name another index. */
const INDEX_DEPTH_MAX = 4;
export const LAYERS_MAX = 128;

/** OCI's names for Node's (image-spec, image-index.md: values as in GOARCH). */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** A blob as another blob names it (image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
}

/** One image of a layout, its manifest verified against its digest. */
export interface Image {
  readonly layout: string;
  readonly digest: Digest;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
  /** The digest of each layer's tar, in the same order, from the image's configuration. */
  readonly diffIds: readonly Digest[];
}

/**
 * The digest of a layout's only image for this machine.
 * @throws GateError `ERR_USAGE` where the folder is no layout, or holds several and none was named.
 */
export function onlyImage(layout: string): Digest {
  const index = readDocument(join(layout, "index.json"), layout);
  const manifests = descriptorsOf(index["manifests"], layout, "index.json");
  const [first, second] = manifests;
  if (first !== undefined && second === undefined) return first.digest;
  throw new GateError("ERR_USAGE", `\`${layout}\` holds ${manifests.length} images, and none was named`, {
    remedy: `write \`oci:${layout}@sha256:DIGEST\` with one of: ${manifests.map(({ digest }) => digest).join(", ")}`,
  });
}

/** Reads an image, following an index to this machine's manifest. @throws GateError `ERR_SANDBOX_START`. */
export function readImage(layout: string, digest: Digest): Image {
  let named = digest;
  for (let depth = 0; depth < INDEX_DEPTH_MAX; depth += 1) {
    const manifest = readVerified(layout, named);
    if (manifest["layers"] !== undefined) return imageOf(layout, digest, manifest);
    named = forThisMachine(layout, named, manifest);
  }
  throw broken(layout, `${digest} leads through more than ${INDEX_DEPTH_MAX} indexes`);
}

/** @returns where a blob lies (image-layout.md, "Blobs"). */
export function blobPath(layout: string, digest: Digest): string {
  return join(layout, "blobs", "sha256", digest.slice("sha256:".length));
}

export function broken(layout: string, what: string): GateError {
  return new GateError("ERR_SANDBOX_START", `the image in \`${layout}\` cannot be used: ${what}`, {
    remedy: "copy the image again, or name another",
  });
}

type Document = Readonly<Record<string, unknown>>;

function imageOf(layout: string, digest: Digest, manifest: Document): Image {
  const layers = descriptorsOf(manifest["layers"], layout, "layers");
  if (layers.length > LAYERS_MAX) throw broken(layout, `more than ${LAYERS_MAX} layers`);
  const [config] = descriptorsOf([manifest["config"]], layout, "config");
  const rootfs = config === undefined ? {} : readVerified(layout, config.digest)["rootfs"];
  const listed = isDocument(rootfs) ? rootfs["diff_ids"] : undefined;
  if (!Array.isArray(listed) || listed.length !== layers.length)
    throw broken(layout, "its configuration does not list the layers");
  return { layout, digest, layers, diffIds: listed.map((entry) => digestIn(entry, layout)) };
}

function forThisMachine(layout: string, digest: Digest, index: Document): Digest {
  const manifests = Array.isArray(index["manifests"]) ? index["manifests"] : [];
  const wanted = ARCHITECTURES[arch()];
  const fitting = manifests.filter((entry) => {
    const platform = isDocument(entry) ? entry["platform"] : undefined;
    return isDocument(platform) && platform["os"] === "linux" && platform["architecture"] === wanted;
  });
  const [descriptor] = descriptorsOf(fitting, layout, "manifests");
  if (descriptor === undefined) throw broken(layout, `${digest} has no image for linux/${wanted ?? arch()}`);
  return descriptor.digest;
}

function descriptorsOf(value: unknown, layout: string, where: string): readonly Descriptor[] {
  if (!Array.isArray(value)) throw broken(layout, `\`${where}\` is not a list`);
  return value.map((entry) => {
    const { mediaType, digest, size } = isDocument(entry) ? entry : {};
    if (typeof mediaType !== "string" || !Number.isSafeInteger(size) || Number(size) < 0)
      throw broken(layout, `\`${where}\` holds something that is no descriptor`);
    return { mediaType, digest: digestIn(digest, layout), size: Number(size) };
  });
}

function digestIn(value: unknown, layout: string): Digest {
  try {
    return parseDigest(String(value));
  } catch {
    throw broken(layout, `\`${String(value).slice(0, 100)}\` is not a sha256 digest`);
  }
}

/** What a digest names is looked at only after it has that digest. */
function readVerified(layout: string, digest: Digest): Document {
  const path = blobPath(layout, digest);
  const bytes = readBounded(path, layout);
  if (digestOf(bytes) !== digest) throw broken(layout, `the blob ${digest} has another digest`);
  return parse(bytes, layout, digest);
}

function readDocument(path: string, layout: string): Document {
  return parse(readBounded(path, layout), layout, "index.json");
}

function parse(bytes: Uint8Array, layout: string, name: string): Document {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString("utf8"));
    if (isDocument(value)) return value;
  } catch {
    // said below
  }
  throw broken(layout, `${name} is not a JSON object`);
}

function readBounded(path: string, layout: string): Buffer<ArrayBuffer> {
  const entry = statSync(path, { throwIfNoEntry: false });
  if (entry === undefined) throw broken(layout, `there is no \`${path}\``);
  if (!entry.isFile() || entry.size > DOCUMENT_BYTES_MAX)
    throw broken(layout, `\`${path}\` is not a file of at most ${DOCUMENT_BYTES_MAX} bytes`);
  return readFileSync(path);
}

function isDocument(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
