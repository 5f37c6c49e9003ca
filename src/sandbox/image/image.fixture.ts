import { mkdirSync, writeFileSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type Digest, digestOf } from "../../contract/ids.ts";

/** One entry of an archive as a test writes it; a path that ends with `/` is a folder. */
export interface MadeEntry {
  readonly path: string;
  readonly content?: string | Uint8Array;
  readonly mode?: number;
  /** A symbolic link. */
  readonly link?: string;
  readonly hardLink?: string;
  /** Any other type flag. */
  readonly type?: string;
}

export function makeTar(entries: readonly MadeEntry[]): Buffer<ArrayBuffer> {
  const parts = entries.flatMap((entry) => {
    const content = Buffer.from(entry.content ?? "");
    const padding = Buffer.alloc((512 - (content.length % 512)) % 512);
    return [header(entry, content.length), content, padding];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

function header({ path, mode, link, hardLink, type }: MadeEntry, size: number): Buffer {
  const block = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number): number =>
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  block.write(path, 0);
  octal(mode ?? (path.endsWith("/") ? 0o755 : 0o644), 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  block.write(
    type ?? (link !== undefined ? "2" : hardLink !== undefined ? "1" : path.endsWith("/") ? "5" : "0"),
    156,
  );
  block.write(link ?? hardLink ?? "", 157);
  block.write("ustar\0" + "00", 257);
  block.fill(0x20, 148, 156);
  octal(
    block.reduce((total, byte) => total + byte, 0),
    148,
    8,
  );
  return block;
}

export interface MadeLayout {
  readonly path: string;
  readonly digest: Digest;
  readonly layers: readonly Digest[];
}

/** What a layout says that is not so. */
export interface Lies {
  readonly diffIds?: readonly Digest[];
  readonly size?: number;
}

/** An OCI image layout with one image, of one archive per layer. */
export function makeLayout(path: string, layers: readonly Uint8Array[], lies: Lies = {}): MadeLayout {
  mkdirSync(join(path, "blobs/sha256"), { recursive: true });
  const put = (bytes: Uint8Array): { digest: Digest; size: number } => {
    const digest = digestOf(bytes);
    writeFileSync(join(path, "blobs/sha256", digest.slice(7)), bytes);
    return { digest, size: bytes.length };
  };
  const json = (value: unknown): { digest: Digest; size: number } => put(Buffer.from(JSON.stringify(value)));
  const packed = layers.map((layer) => put(gzipSync(layer)));
  const architecture = arch() === "x64" ? "amd64" : "arm64";
  const config = json({
    architecture,
    os: "linux",
    rootfs: { type: "layers", diff_ids: lies.diffIds ?? layers.map((layer) => digestOf(layer)) },
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", ...config },
    layers: packed.map((layer) => ({
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      ...layer,
      ...(lies.size === undefined ? {} : { size: lies.size }),
    })),
  });
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", ...manifest }],
  };
  writeFileSync(join(path, "index.json"), JSON.stringify(index));
  writeFileSync(join(path, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  return { path, digest: manifest.digest, layers: packed.map(({ digest }) => digest) };
}
