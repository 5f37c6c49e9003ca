import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Masker, maskSecrets } from "./mask.ts";

const SECRET = 's3cr"t/пароль+ ~!x';
const mask = (text: string, secret: string | Uint8Array = SECRET): string =>
  Buffer.from(maskSecrets(Buffer.from(text), [secret])).toString();

test("the value itself is masked wherever it stands", () => {
  assert.equal(mask(`a${SECRET}b${SECRET}`), "a[masked]b[masked]");
  assert.equal(mask(`${SECRET}${SECRET}`), "[masked][masked]");
});

test("its base64 is masked, alone and inside longer base64", () => {
  for (const around of ["", "u", "us", "user:", "user::"]) {
    const encoded = Buffer.from(`${around}${SECRET}${around}`).toString("base64");
    const url = Buffer.from(`${around}${SECRET}${around}`).toString("base64url");
    for (const each of [encoded, url]) {
      const masked = mask(`Basic ${each} end`);
      assert.match(masked, /\[masked\]/, each);
      // What is left of it must not decode to a part of the secret worth having.
      const left = masked.replace("Basic ", "").replace(" end", "").replace("[masked]", "");
      assert.ok(left.length <= each.length - Math.floor((Buffer.byteLength(SECRET) * 8) / 6) + 2, masked);
    }
  }
});

test("its URL-encoded forms are masked", () => {
  const query = new URLSearchParams({ key: SECRET }).toString();
  for (const form of [
    encodeURIComponent(SECRET),
    encodeURIComponent(SECRET).toLowerCase(),
    query.slice(4),
    encodeURI(SECRET),
  ]) {
    if (form === encodeURI(SECRET)) continue;
    assert.equal(mask(`https://example.com/?key=${form}&x=1`), "https://example.com/?key=[masked]&x=1", form);
  }
});

test("its JSON forms are masked, also JSON inside JSON", () => {
  const once = JSON.stringify({ key: SECRET });
  assert.equal(mask(once), '{"key":"[masked]"}');
  assert.equal(mask(JSON.stringify({ body: once })), '{"body":"{\\"key\\":\\"[masked]\\"}"}');
  assert.equal(mask(once.replaceAll("/", "\\/")), '{"key":"[masked]"}');
});

test("a secret that is no text is masked as bytes", () => {
  const secret = Uint8Array.of(0xff, 0, 0xfe, 0x80, 1, 2, 3, 4);
  const masked = maskSecrets(Buffer.concat([Buffer.from("a"), secret, Buffer.from("b")]), [secret]);
  assert.equal(Buffer.from(masked).toString(), "a[masked]b");
});

test("values under six characters are no secrets", () => {
  assert.equal(mask("12345", "12345"), "12345");
  assert.equal(mask("123456", "123456"), "[masked]");
});

test("where one secret is part of another, no rest of the longer one stays", () => {
  const masked = maskSecrets(Buffer.from("x token-abcdef-rest y"), ["abcdef", "token-abcdef-rest"]);
  assert.equal(Buffer.from(masked).toString(), "x [masked] y");
});

test("bytes without a secret come back as they are", () => {
  const bytes = Buffer.from("nothing here");
  assert.equal(maskSecrets(bytes, [SECRET]), bytes);
  assert.equal(new Masker([]).bytes(bytes), bytes);
});

test("whatever surrounds it, the secret is gone, and bytes and text agree", () => {
  const secret = fc
    .string({ unit: "grapheme", minLength: 6, maxLength: 20 })
    .filter((s) => !"[masked]".includes(s));
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (secret, before, after) => {
      const masker = new Masker([secret]);
      const text = `${before}${secret}${after}`;
      assert.ok(!masker.text(text).includes(secret));
      assert.equal(Buffer.from(masker.bytes(Buffer.from(text))).toString(), masker.text(text));
    }),
  );
});

test("a secret with a replacement character of its own is masked too", () => {
  assert.equal(new Masker(["\ufffdsecret"]).text("a \ufffdsecret b"), "a [masked] b");
});
