import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Refusal } from "../visit.ts";
import { credentialOf, holdsNone, request } from "./credential.fixture.ts";
import type { GateCredential, OutgoingRequest } from "./credential.ts";

/** The keys of AWS's own test suite of Signature Version 4, and those of its examples for S3. */
const SUITE = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
};
const S3_DOCUMENTATION = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const SUITE_HOST = "example.amazonaws.com";
const S3_HOST = "examplebucket.s3.amazonaws.com";
const EMPTY = new Uint8Array();

function suite(keys: Readonly<Record<string, string>> = SUITE): GateCredential {
  return credentialOf(
    { kind: "sigv4", region: "us-east-1", service: "service" },
    { secret: JSON.stringify(keys), spec: { host: SUITE_HOST }, now: () => Date.UTC(2015, 7, 30, 12, 36) },
  );
}

function s3(): GateCredential {
  return credentialOf(
    { kind: "sigv4", region: "us-east-1", service: "s3" },
    {
      secret: JSON.stringify(S3_DOCUMENTATION),
      spec: { host: S3_HOST },
      now: () => Date.UTC(2013, 4, 24),
    },
  );
}

function headerOf({ headers }: OutgoingRequest, name: string): string | undefined {
  const values = headers.filter(([other]) => other === name).map(([, value]) => value);
  assert.ok(values.length <= 1, name);
  return values[0];
}

function signatureOf(made: OutgoingRequest): string | undefined {
  return /Signature=([0-9a-f]{64})$/.exec(headerOf(made, "authorization") ?? "")?.[1];
}

describe("Signature Version 4", () => {
  const known: readonly [name: string, method: string, target: string, signature: string][] = [
    ["get-vanilla", "GET", "/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"],
    ["post-vanilla", "POST", "/", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"],
    [
      "get-vanilla-query-order-key-case",
      "GET",
      "/?Param2=value2&Param1=value1",
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ],
  ];
  for (const [name, method, target, signature] of known) {
    it(`signs as AWS's test suite does: ${name}`, async () => {
      const made = { ...request([], target, SUITE_HOST), method };
      await suite().attach(made, EMPTY);
      assert.equal(
        headerOf(made, "authorization"),
        `AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=${signature}`,
      );
      assert.equal(headerOf(made, "x-amz-date"), "20150830T123600Z");
    });
  }

  const s3Known: readonly [target: string, signature: string][] = [
    ["/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"],
    ["/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"],
  ];
  for (const [target, signature] of s3Known) {
    it(`signs as the documentation of S3 does: ${target}`, async () => {
      const made = request([], target, S3_HOST);
      await s3().attach(made, EMPTY);
      assert.equal(signatureOf(made), signature);
      assert.equal(made.target, target);
    });
  }

  it("takes away whatever the tool signed with, and keeps the service's own headers", async () => {
    const own = [
      ["authorization", "AWS4-HMAC-SHA256 Credential=own"],
      ["x-amz-date", "20000101T000000Z"],
      ["x-amz-security-token", "own"],
      ["x-amz-content-sha256", "UNSIGNED-PAYLOAD"],
      ["date", "yesterday"],
      ["x-amz-target", "Service.Do"],
    ] as const;
    const presigned = "X-Amz-Algorithm=a&X-Amz-Credential=b&X-Amz-Date=c&X-Amz-Expires=9&X-Amz-Signature=d";
    const made = request(
      own,
      `/?${presigned}&X-Amz-Security-Token=e&x-amz-signedheaders=f&Action=Do`,
      SUITE_HOST,
    );
    const clean = request([["x-amz-target", "Service.Do"]], "/?Action=Do", SUITE_HOST);
    await suite().attach(made, EMPTY);
    await suite().attach(clean, EMPTY);
    assert.deepEqual(made, clean);
    assert.match(headerOf(made, "authorization") ?? "", /SignedHeaders=host;x-amz-date;x-amz-target/);
  });

  it("signs the body, the path, the query and the host's own headers: another of any is another signature", async () => {
    const sign = async (change: (made: OutgoingRequest) => void, body = "a"): Promise<string> => {
      const made = request([["content-type", "text/plain"]], "/a%20b?q=1", SUITE_HOST);
      change(made);
      await suite().attach(made, Buffer.from(body));
      return signatureOf(made) ?? assert.fail();
    };
    const signatures = await Promise.all([
      sign(() => {}),
      sign(() => {}, "b"),
      sign((made) => Object.assign(made, { target: "/a%20c?q=1" })),
      sign((made) => Object.assign(made, { target: "/a%20b?q=2" })),
      sign((made) => made.headers.push(["x-amz-meta-a", "1"])),
      sign((made) => Object.assign(made, { headers: [["content-type", "text/html"]] })),
    ]);
    assert.equal(new Set(signatures).size, signatures.length);
    // What a hop may change is not signed.
    assert.equal(await sign((made) => made.headers.push(["accept-encoding", "gzip"])), signatures[0]);
  });

  it("sends the session's token, and tells it as a secret", async () => {
    const credential = suite({ ...SUITE, sessionToken: "session-token-value" });
    const made = request([], "/", SUITE_HOST);
    await credential.attach(made, EMPTY);
    assert.equal(headerOf(made, "x-amz-security-token"), "session-token-value");
    assert.deepEqual(credential.secrets, [SUITE.secretAccessKey, "session-token-value"]);
    holdsNone(credential, SUITE.secretAccessKey, "session-token-value");
  });

  it("writes the query in the form that is signed", async () => {
    const made = request([], "/?b=x+y&a=%7e%2f&a=1&c", SUITE_HOST);
    await suite().attach(made, EMPTY);
    assert.equal(made.target, "/?b=x%20y&a=~%2F&a=1&c");
  });

  const refusals: readonly [
    why: string,
    made: OutgoingRequest,
    body: Uint8Array | undefined,
    words: RegExp,
  ][] = [
    ["no body", request([], "/", SUITE_HOST), undefined, /signs the body/],
    [
      "a body in signed chunks",
      request([["x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"]], "/", SUITE_HOST),
      EMPTY,
      /signed in chunks/,
    ],
    [
      "a body in chunks by its encoding",
      request([["content-encoding", "gzip, aws-chunked"]], "/", SUITE_HOST),
      EMPTY,
      /signed in chunks/,
    ],
  ];
  for (const [why, made, body, words] of refusals) {
    it(`is refused with ${why}`, async () => {
      const before = structuredClone(made);
      await assert.rejects(suite().attach(made, body), (error) => {
        assert.ok(error instanceof Refusal);
        assert.match(error.message, words);
        holdsNone(error, SUITE.secretAccessKey);
        return true;
      });
      assert.deepEqual(made, before);
    });
  }

  it("never puts a secret where a placeholder stood", async () => {
    const credential = suite();
    const made = request([["x-key", credential.placeholders[0] ?? ""]], "/", SUITE_HOST);
    await assert.rejects(credential.attach(made, EMPTY), Refusal);
    const signed = request([["authorization", `AWS4 ${credential.placeholders[0]}`]], "/", SUITE_HOST);
    await credential.attach(signed, EMPTY);
    holdsNone(signed, SUITE.secretAccessKey, credential.placeholders[0] ?? "");
  });
});
