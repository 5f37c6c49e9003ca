import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { openCheckpoint, parseDecimal, signCheckpoint } from "./checkpoint.ts";
import { leafHash } from "./merkle.ts";
import {
  formatVerifierKey,
  keyId,
  openNote,
  parseVerifierKey,
  type Signer,
  signNote,
  type Verifier,
} from "./note.ts";
import { formatProof, parseProof } from "./proof.ts";

function keys(name: string): { readonly signer: Signer; readonly verifier: Verifier; readonly vkey: string } {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = Buffer.from(publicKey.export({ format: "jwk" }).x ?? "", "base64url");
  const vkey = formatVerifierKey(name, raw);
  const verifier = parseVerifierKey(vkey);
  assert.ok(verifier);
  return { signer: { name, id: keyId(name, raw), key: privateKey as KeyObject }, verifier, vkey };
}

// The example of golang.org/x/mod/sumdb/note's documentation.
const NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const NEUMANN_NOTE =
  "If you think cryptography is the answer to your problem,\n" +
  "then you don't know what your problem is.\n" +
  "\n" +
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

test("a note that Go signed opens with its vkey", () => {
  const verifier = parseVerifierKey(NEUMANN);
  assert.ok(verifier);
  assert.match(openNote(NEUMANN_NOTE, verifier) ?? "", /^If you think .* is\.\n$/s);
});

test("the vkey of the Go checksum database reads, and one with another id does not", () => {
  const sumdb = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
  assert.equal(parseVerifierKey(sumdb)?.name, "sum.golang.org");
  assert.equal(parseVerifierKey(sumdb.replace("033de0ae", "033de0af")), undefined);
});

test("what is not a vkey line is refused", () => {
  const good = keys("example.com/log").vkey;
  const tooLong = good.replace(/\+([^+]+)\+/, "+$1+AA");
  for (const bad of [
    "",
    "a+b",
    `${good}x`,
    good.replace("example.com", "exa mple"),
    `+${good}`,
    tooLong,
    good.toUpperCase(),
  ]) {
    assert.equal(parseVerifierKey(bad), undefined, bad);
  }
  const raw = Buffer.from(good.split("+").slice(2).join("+"), "base64").subarray(1);
  assert.equal(formatVerifierKey("example.com/log", raw), good);
  for (const name of ["exa mple", "exa\u2003mple", "exa\u0007mple"]) {
    assert.equal(
      parseVerifierKey(formatVerifierKey(name, raw)),
      undefined,
      "its id is right and its name is not one",
    );
  }
});

test("any change of one character leaves a note unsigned", () => {
  const { signer, verifier } = keys("example.com/log");
  const note = signNote("one\ntwo\n", signer);
  assert.equal(openNote(note, verifier), "one\ntwo\n");
  for (let at = 0; at < note.length; at++) {
    for (const other of ["x", "\n", ""]) {
      const changed = note.slice(0, at) + other + note.slice(at + 1);
      if (changed !== note) assert.equal(openNote(changed, verifier), undefined, `at ${at}`);
    }
  }
});

test("other keys' signatures are passed over, a false one of this key refuses the note", () => {
  const log = keys("example.com/log");
  const witness = keys("witness.example");
  const text = "text\n";
  const own = signNote(text, log.signer);
  const theirs = signNote(text, witness.signer).slice(text.length + 1);
  const both = own + theirs;
  assert.equal(openNote(both, log.verifier), text);
  assert.equal(openNote(both, witness.verifier), text);
  assert.equal(openNote(own, witness.verifier), undefined);
  const forged = signNote("another text\n", log.signer).slice("another text\n".length + 1);
  assert.equal(openNote(own + forged, log.verifier), undefined);
});

test("a line that is no signature refuses the note, whatever else is signed", () => {
  const { signer, verifier } = keys("example.com/log");
  const note = signNote("text\n", signer);
  for (const line of [
    "— other AAAA\n",
    "— other\n",
    "- other AAAAAAAA\n",
    "— o+her AAAAAAAA\n",
    "anything\n",
  ]) {
    assert.equal(openNote(note + line, verifier), undefined, line);
  }
  assert.equal(openNote(`${note}— other AAAAAAAA\n`, verifier), "text\n");
});

test("a name alone, or a key alone, is not the signer", () => {
  const one = keys("example.com/log");
  const two = keys("example.com/log");
  assert.equal(openNote(signNote("text\n", two.signer), one.verifier), undefined);
});

test("sixteen large foreign signatures do not hide the log's", () => {
  const { signer, verifier } = keys("example.com/log");
  const foreign = Array.from(
    { length: 16 },
    (_, i) => `— w${i} ${Buffer.alloc(5_000, i).toString("base64")}\n`,
  );
  assert.equal(openNote(signNote("text\n", signer) + foreign.join(""), verifier), "text\n");
});

test("control characters, lone surrogates and missing newlines are refused", () => {
  const { signer, verifier } = keys("example.com/log");
  for (const text of ["a\tb\n", "a\0b\n", "a\rb\n", "a\ud800b\n"]) {
    assert.equal(openNote(signNote(text, signer), verifier), undefined);
  }
  assert.equal(openNote(signNote("text\n", signer).slice(0, -1), verifier), undefined);
});

test("a checkpoint comes back as it was signed, and only under its origin", () => {
  const { signer, verifier } = keys("example.com/log");
  const root = leafHash("x");
  fc.assert(
    fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (size) => {
      const note = signCheckpoint({ origin: signer.name, size, root }, signer);
      assert.deepEqual(openCheckpoint(note, verifier), {
        origin: signer.name,
        size,
        root: Buffer.from(root),
      });
    }),
  );
  assert.equal(
    openCheckpoint(signCheckpoint({ origin: "another", size: 1, root }, signer), verifier),
    undefined,
  );
});

test("a checkpoint's lines are read strictly, extension lines are read over", () => {
  const { signer, verifier } = keys("example.com/log");
  const root = Buffer.from(leafHash("x")).toString("base64");
  const open = (text: string): number | undefined => openCheckpoint(signNote(text, signer), verifier)?.size;
  assert.equal(open(`example.com/log\n7\n${root}\n`), 7);
  assert.equal(open(`example.com/log\n7\n${root}\nextension\n`), 7);
  for (const size of ["07", "+7", "-7", "7.0", "", "0x7", "9007199254740992", "99999999999999999999"]) {
    assert.equal(open(`example.com/log\n${size}\n${root}\n`), undefined, size);
  }
  assert.equal(open(`example.com/log\n7\n${root.slice(4)}\n`), undefined);
  assert.equal(open(`example.com/log\n7\n${root.replace(/=$/, "")}\n`), undefined);
  assert.equal(open(`example.com/log\n7\n${root}\n\nafter an empty line\n`), undefined);
  assert.equal(parseDecimal("0"), 0);
});

test("a tlog-proof comes back as it was written; what is malformed does not", () => {
  const hashes = [leafHash("a"), leafHash("b")];
  const text = formatProof(73_894, hashes, "checkpoint\n");
  assert.deepEqual(parseProof(text), {
    index: 73_894,
    hashes: hashes.map((h) => Buffer.from(h)),
    checkpoint: "checkpoint\n",
  });
  assert.deepEqual(parseProof(text.replace("\nindex", "\nextra aGk=\nindex"))?.index, 73_894);
  const bad = [
    text.replace("@v1", "@v2"),
    text.replace("index 73894", "index 073894"),
    text.replace("index 73894\n", ""),
    text.replace("\nindex", "\nextra aGk\nindex"),
    text.replace("=\n", "\n"),
    text.replace("\n\n", "\nAAAAAAAAAAAAAAAAAAAAAA==\n\n"),
    text.replace("\n\n", "\n"),
    formatProof(
      0,
      Array.from({ length: 54 }, () => leafHash("a")),
      "c\n",
    ),
  ];
  for (const each of bad) assert.equal(parseProof(each), undefined, each);
});
