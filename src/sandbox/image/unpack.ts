import { createHash, randomBytes } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { type Digest, parseDigest } from "../../contract/ids.ts";
import { isAlive } from "../procfs.ts";
import { blobPath, broken, type Descriptor, type Image } from "./layout.ts";
import { readTar, TarError } from "./tar.ts";
import { ImageTree } from "./tree.ts";

/** A file system that was put together whole: renamed there once every digest had been verified. */
const DONE = "root";

/**
 * The root file system of an image, unpacked into `cache` once and kept under the digest of its manifest.
 * @returns its folder.
 * @throws GateError `ERR_SANDBOX_START` for a layer that is missing, has another digest or cannot be unpacked.
 */
export async function unpackedImage(image: Image, cache: string): Promise<string> {
  const place = join(cache, image.digest.slice("sha256:".length));
  const done = join(place, DONE);
  if (existsSync(done)) return done;
  mkdirSync(place, { recursive: true, mode: 0o700 });
  removeOrphans(place);
  const draft = join(place, `draft-${process.pid}-${randomBytes(4).toString("hex")}`);
  try {
    const tree = new ImageTree(draft);
    for (const [index, layer] of image.layers.entries()) {
      tree.nextLayer();
      await unpackLayer(image, layer, image.diffIds[index], tree);
    }
    tree.finish();
    settle(draft, done);
    return done;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Another gateway may have been first: theirs has the same digest. */
function settle(draft: string, done: string): void {
  try {
    renameSync(draft, done);
  } catch (error) {
    if (!existsSync(done)) throw error;
  }
}

/** What a gateway that was killed had begun. */
function removeOrphans(place: string): void {
  for (const name of readdirSync(place)) {
    const owner = Number(/^draft-(\d+)-/.exec(name)?.[1]);
    if (owner > 0 && owner !== process.pid && !isAlive(owner))
      rmSync(join(place, name), { recursive: true, force: true });
  }
}

async function unpackLayer(
  { layout }: Image,
  layer: Descriptor,
  diffId: Digest | undefined,
  tree: ImageTree,
): Promise<void> {
  const path = blobPath(layout, layer.digest);
  const entry = statSync(path, { throwIfNoEntry: false });
  if (entry?.isFile() !== true) throw broken(layout, `there is no layer ${layer.digest}`);
  if (entry.size !== layer.size)
    throw broken(layout, `the layer ${layer.digest} is not ${layer.size} bytes long`);
  const packed = new Hash();
  const plain = new Hash();
  try {
    const moving = pipeline([
      createReadStream(path),
      packed.stream,
      ...decompressor(layer.mediaType),
      plain.stream,
    ]);
    const reading = readTar(plain.stream, tree).catch((error: Error) => {
      plain.stream.destroy(error);
      throw error;
    });
    // A reader that stops ends the stream, and a stream that ends stops the reader: the first of the two is the cause.
    await Promise.all([reading, moving]);
  } catch (error) {
    tree.end();
    if (error instanceof TarError) throw broken(layout, `in the layer ${layer.digest} ${error.message}`);
    if (isCompressionFault(error))
      throw broken(layout, `the layer ${layer.digest} is not compressed as it says`);
    throw error;
  }
  if (packed.digest() !== layer.digest) throw broken(layout, `the layer ${layer.digest} has another digest`);
  if (plain.digest() !== diffId) throw broken(layout, `the layer ${layer.digest} unpacks to another digest`);
}

function isCompressionFault(error: unknown): boolean {
  return /^(?:Z_|ZSTD_)/.test(String((error as NodeJS.ErrnoException).code));
}

/** By the media type's suffix (image-spec, layer.md); Docker's own types end alike. */
function decompressor(mediaType: string): readonly Transform[] {
  if (/[.+]gzip$/.test(mediaType)) return [createGunzip()];
  if (/[.+]zstd$/.test(mediaType)) return [createZstdDecompress()];
  return [];
}

/** Digests what passes through. */
class Hash {
  readonly #hash = createHash("sha256");
  readonly stream: Transform = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      this.#hash.update(chunk);
      done(null, chunk);
    },
  });

  digest(): Digest {
    return parseDigest(`sha256:${this.#hash.digest("hex")}`);
  }
}
