import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parseDigest } from "../../contract/ids.ts";
import { type MadeEntry, makeLayout, makeTar } from "./image.fixture.ts";
import { blobPath, onlyImage, readImage } from "./layout.ts";
import { ENTRIES_MAX, ImageTree, UNPACKED_BYTES_MAX } from "./tree.ts";
import { unpackedImage } from "./unpack.ts";

function openPlace(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "callgate-image-"));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

async function unpack(folder: string, ...layers: readonly (readonly MadeEntry[])[]): Promise<string> {
  const { path, digest } = makeLayout(join(folder, "layout"), layers.map(makeTar));
  return await unpackedImage(readImage(path, digest), join(folder, "cache"));
}

describe("an image is unpacked", () => {
  test("layer over layer, with whiteouts, links of both kinds, modes without set-id bits", async () => {
    using place = openPlace();
    const root = await unpack(
      place.folder,
      [
        { path: "usr/" },
        { path: "usr/lib/a", content: "old" },
        { path: "lib", link: "usr/lib" },
        { path: "etc/keep", content: "kept" },
        { path: "etc/drop", content: "dropped" },
        { path: "var/one", content: "1" },
        { path: "bin/su", content: "su", mode: 0o4755 },
        { path: "dev/null", type: "3" },
      ],
      [
        { path: "./lib/a", content: "new" },
        { path: "etc/.wh.drop" },
        { path: "var/two", content: "2" },
        { path: "var/.wh..wh..opq" },
        { path: "etc/same", hardLink: "etc/keep" },
      ],
    );
    assert.equal(readFileSync(join(root, "usr/lib/a"), "utf8"), "new");
    assert.equal(readlinkSync(join(root, "lib")), "usr/lib");
    assert.deepEqual(readdirSync(join(root, "etc")).sort(), ["keep", "same"]);
    assert.deepEqual(readdirSync(join(root, "var")), ["two"]);
    assert.equal(readFileSync(join(root, "etc/same"), "utf8"), "kept");
    assert.equal(statSync(join(root, "bin/su")).mode & 0o7777, 0o755);
    assert.deepEqual(readdirSync(join(root, "dev")), []);
  });

  test("as GNU tar and pax write it, long names included", async () => {
    using place = openPlace();
    const long = `${"d".repeat(120)}/${"f".repeat(120)}`;
    const tree = join(place.folder, "tree");
    mkdirSync(join(tree, "d".repeat(120)), { recursive: true });
    writeFileSync(join(tree, long), "deep");
    for (const format of ["gnu", "pax"]) {
      const archive = execFileSync("tar", [`--format=${format}`, "-C", tree, "-cf", "-", "."]);
      const { path, digest } = makeLayout(join(place.folder, format), [archive]);
      const root = await unpackedImage(readImage(path, digest), join(place.folder, `cache-${format}`));
      assert.equal(readFileSync(join(root, long), "utf8"), "deep", format);
    }
  });

  test("once: a second time its folder is there already", async () => {
    using place = openPlace();
    const { path, digest } = makeLayout(join(place.folder, "layout"), [
      makeTar([{ path: "a", content: "1" }]),
    ]);
    const image = readImage(path, onlyImage(path));
    const root = await unpackedImage(image, join(place.folder, "cache"));
    rmSync(join(path, "blobs"), { recursive: true });
    assert.equal(await unpackedImage(image, join(place.folder, "cache")), root);
    assert.equal(image.digest, digest);
  });
});

describe("an image cannot leave its folder", () => {
  const escapes: Readonly<Record<string, readonly MadeEntry[]>> = {
    "a path with ..": [{ path: "../evil", content: "x" }],
    "a link to its own folder": [
      { path: "a", link: "a" },
      { path: "a/b", content: "x" },
    ],
    "a hard link to a file of the host": [{ path: "p", hardLink: "/etc/passwd" }],
    "a hard link with ..": [{ path: "p", hardLink: "../../../../etc/passwd" }],
    "a folder under a file": [
      { path: "a", content: "x" },
      { path: "a/b", content: "y" },
    ],
  };
  for (const [name, entries] of Object.entries(escapes)) {
    test(`${name} is refused, and nothing of it is left`, async () => {
      using place = openPlace();
      await assert.rejects(unpack(place.folder, entries), { code: "ERR_SANDBOX_START" });
      assert.deepEqual(readdirSync(place.folder).sort(), ["cache", "layout"]);
      const [image = ""] = readdirSync(join(place.folder, "cache"));
      assert.deepEqual(readdirSync(join(place.folder, "cache", image)), []);
    });
  }

  test("links that lead out lead to the root instead, in one layer and over two", async () => {
    using place = openPlace();
    const outside = join(place.folder, "outside");
    mkdirSync(outside);
    const out = { path: "out", link: outside };
    const up = { path: "up", link: "../../../../../.." };
    const root = await unpack(
      place.folder,
      [out, up, { path: "out/a", content: "1" }, { path: "up/b", content: "2" }],
      [{ path: "out/c", content: "3" }, { path: "up/.wh.b" }],
    );
    assert.deepEqual(readdirSync(outside), []);
    assert.equal(readFileSync(join(root, outside, "c"), "utf8"), "3");
    assert.ok(!existsSync(join(root, "b")));
    assert.ok(!existsSync(join(place.folder, "b")));
  });

  test("a link where a file comes next is replaced, not written through", async () => {
    using place = openPlace();
    const target = join(place.folder, "target");
    writeFileSync(target, "host");
    const root = await unpack(place.folder, [
      { path: "f", link: target },
      { path: "f", content: "image" },
    ]);
    assert.equal(readFileSync(target, "utf8"), "host");
    assert.equal(readFileSync(join(root, "f"), "utf8"), "image");
  });
});

describe("an image is what its digest says", () => {
  const tar = makeTar([{ path: "a", content: "1" }]);

  test("a changed layer, a shorter one and a missing one are refused", async () => {
    for (const change of [
      (bytes: Buffer): Buffer => Buffer.concat([bytes.subarray(0, 20), Buffer.from([1]), bytes.subarray(21)]),
      (bytes: Buffer): Buffer => bytes.subarray(0, -1),
    ]) {
      using place = openPlace();
      const { path, digest, layers } = makeLayout(join(place.folder, "layout"), [tar]);
      const blob = blobPath(path, layers[0] ?? digest);
      writeFileSync(blob, change(readFileSync(blob)));
      await assert.rejects(unpackedImage(readImage(path, digest), join(place.folder, "cache")), {
        code: "ERR_SANDBOX_START",
      });
      rmSync(blob);
      await assert.rejects(
        unpackedImage(readImage(path, digest), join(place.folder, "cache")),
        /there is no layer/,
      );
    }
  });

  test("a layer of another content with the manifest's size is refused by its digest", async () => {
    using place = openPlace();
    const { path, digest, layers } = makeLayout(join(place.folder, "layout"), [tar]);
    const blob = blobPath(path, layers[0] ?? digest);
    const bytes = readFileSync(blob);
    bytes[4] = (bytes[4] ?? 0) ^ 1; // gzip's time stamp: it unpacks to the same
    writeFileSync(blob, bytes);
    await assert.rejects(
      unpackedImage(readImage(path, digest), join(place.folder, "cache")),
      /has another digest/,
    );
  });

  test("a layer that unpacks to another digest, or is longer than it says, is refused", async () => {
    for (const [lie, message] of [
      [{ diffIds: [parseDigest(`sha256:${"1".repeat(64)}`)] }, /unpacks to another digest/],
      [{ size: 1 }, /is not 1 bytes long/],
    ] as const) {
      using place = openPlace();
      const { path, digest } = makeLayout(join(place.folder, "layout"), [tar], lie);
      await assert.rejects(unpackedImage(readImage(path, digest), join(place.folder, "cache")), message);
    }
  });

  test("a changed manifest, and one that is not there, are refused", () => {
    using place = openPlace();
    const { path, digest } = makeLayout(join(place.folder, "layout"), [tar]);
    writeFileSync(blobPath(path, digest), readFileSync(blobPath(path, digest), "utf8").replace("2", "3"));
    assert.throws(() => readImage(path, digest), /has another digest/);
    assert.throws(() => readImage(path, parseDigest(`sha256:${"0".repeat(64)}`)), /there is no/);
    assert.throws(() => onlyImage(place.folder), { code: "ERR_SANDBOX_START" });
  });
});

describe("an image is bounded", () => {
  test("by entries and by bytes", () => {
    using place = openPlace();
    const tree = new ImageTree(join(place.folder, "root"));
    const other = { path: "x", kind: "other", mode: 0, size: 0, target: "" } as const;
    for (let i = 0; i < ENTRIES_MAX; i += 1) tree.begin(other);
    assert.throws(() => tree.begin(other), /more than 500000 entries/);
    const bytes = new Uint8Array(2 ** 30);
    for (let i = 0; i < UNPACKED_BYTES_MAX / bytes.length; i += 1) tree.content(bytes);
    assert.throws(() => tree.content(new Uint8Array(1)), /more than 8589934592 bytes/);
  });
});
