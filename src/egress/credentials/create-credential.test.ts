import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GateError } from "../../contract/errors.ts";
import { Refusal } from "../visit.ts";
import { createCredential, FETCH_AGAIN_MS } from "./create-credential.ts";
import { credentialOf, HOST, holdsNone, placeholderOf, request, SECRET } from "./credential.fixture.ts";
import type { GateCredential, OutgoingRequest } from "./credential.ts";
import type { CredentialKind } from "./kinds.ts";

const BASIC = `Basic ${Buffer.from(`ada:${SECRET}`).toString("base64")}`;

/** Asserts a refusal with these words, which hold no secret, and that the request is as it was. */
async function refused(
  credential: GateCredential,
  made: OutgoingRequest,
  words: RegExp,
  ...secrets: readonly string[]
): Promise<void> {
  const before = structuredClone(made);
  await assert.rejects(credential.attach(made), (error) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.match(error.message, words);
    holdsNone(error, SECRET, ...secrets);
    return true;
  });
  assert.deepEqual(made, before);
  holdsNone(credential, SECRET, ...secrets);
}

describe("what is added", () => {
  const cases: readonly [how: CredentialKind, name: string, value: string][] = [
    [{ kind: "bearer" }, "authorization", `Bearer ${SECRET}`],
    [{ kind: "basic", user: "ada" }, "authorization", BASIC],
    [{ kind: "header", header: "X-Api-Key" }, "x-api-key", SECRET],
    [{ kind: "header", header: "authorization", prefix: "token " }, "authorization", `token ${SECRET}`],
  ];
  for (const [how, name, value] of cases) {
    it(`${how.kind} ${name}: the gate's header wins, and the tool's own are gone`, async () => {
      const made = request([
        ["accept", "*/*"],
        [name, "the tool's own"],
        [name, "and another"],
      ]);
      await credentialOf(how).attach(made);
      assert.deepEqual(made.headers, [
        ["accept", "*/*"],
        [name, value],
      ]);
    });
  }

  it("query: the parameter is replaced, however its name was written, and others stay as they were", async () => {
    const made = request([], "/search?q=a+b&k%65y=own&key=own&key&x=%zz");
    await credentialOf({ kind: "query", parameter: "key" }, { secret: "a b&c=d/u" }).attach(made);
    assert.equal(made.target, "/search?q=a+b&x=%zz&key=a%20b%26c%3Dd%2Fu");
    const bare = request([], "/search");
    await credentialOf({ kind: "query", parameter: "key" }).attach(bare);
    assert.equal(bare.target, `/search?key=${SECRET}`);
  });

  it("query: a target without a path is refused", async () => {
    await refused(credentialOf({ kind: "query", parameter: "key" }), request([], "*"), /without a path/);
  });

  it("placeholder: nothing is added where the tool put none", async () => {
    const made = request([["authorization", "its own"]], "/?a=b");
    const before = structuredClone(made);
    await credentialOf({ kind: "placeholder" }).attach(made);
    assert.deepEqual(made, before);
  });
});

describe("a placeholder", () => {
  it("is swapped where the kind puts its secret, and refused in every other place", async () => {
    const bearer = credentialOf({ kind: "bearer" }, { secret: "secret-value" });
    const placeholder = placeholderOf(bearer);
    const basic = Buffer.from(`x:${placeholder}`).toString("base64");
    const made = request([["authorization", `Basic ${basic}`]]);
    await bearer.attach(made);
    assert.equal(made.headers[0]?.[1], `Basic ${Buffer.from("x:secret-value").toString("base64")}`);
    for (const wrong of [
      request([["x-token", placeholder]]),
      request([["x-token", `Basic ${basic}`]]),
      request([], `/?q=${placeholder}`),
    ])
      await assert.rejects(bearer.attach(wrong), /placeholder/);
    const own = credentialOf({ kind: "header", header: "X-Key" }, { secret: "secret-value" });
    const keyed = request([["x-key", placeholderOf(own)]]);
    await own.attach(keyed);
    assert.deepEqual(keyed.headers, [["x-key", "secret-value"]]);
  });

  const kinds: readonly CredentialKind[] = [{ kind: "placeholder" }];
  for (const how of kinds) {
    it(`${how.kind}: is swapped in headers, in Basic and in the query`, async () => {
      const credential = credentialOf(how, { secret: "se$&ret/+=" });
      const secret = "se$&ret/+=";
      const placeholder = placeholderOf(credential);
      const partly = placeholder.replace(/[a-f]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`);
      const made = request(
        [
          ["authorization", `bAsIc ${Buffer.from(`x-access-token:${placeholder}`).toString("base64")}`],
          ["x-key", `<${placeholder}>`],
          ["authorization", "Bearer own"],
        ],
        `/p?a=1&t=${partly}&u=v${placeholder}`,
      );
      await credential.attach(made);
      const swapped = `bAsIc ${Buffer.from(`x-access-token:${secret}`).toString("base64")}`;
      assert.equal(made.target, `/p?a=1&t=${encodeURIComponent(secret)}&u=v${encodeURIComponent(secret)}`);
      const own = made.headers.filter(([name]) => name === "authorization");
      assert.deepEqual(
        own,
        how.kind === "bearer"
          ? [["authorization", swapped]]
          : [
              ["authorization", swapped],
              ["authorization", "Bearer own"],
            ],
      );
      assert.deepEqual(
        made.headers.find(([name]) => name === "x-key"),
        ["x-key", `<${secret}>`],
      );
    });
  }

  const left: readonly [where: string, make: (placeholder: string) => OutgoingRequest][] = [
    ["path", (text) => request([], `/bot${text}/send`)],
    ["encoded path", (text) => request([], `/bot${text.replace("-", "%2d")}/send`)],
    ["parameter's name", (text) => request([], `/?${text}=1`)],
    ["header's name", (text) => request([[`x-${text}`, "1"]])],
    ["base64 of a header", (text) => request([["x-blob", Buffer.from(`12${text}`).toString("base64url")]])],
    ["hex of a header", (text) => request([["x-blob", Buffer.from(text).toString("hex")]])],
  ];
  for (const [where, make] of left) {
    it(`is refused in the ${where}, where it is not replaced`, async () => {
      const credential = credentialOf({ kind: "bearer" });
      const placeholder = placeholderOf(credential);
      await refused(credential, make(placeholder), /placeholder of credential `test-key`/, placeholder);
    });
  }

  it("that is left on its own host's way has a remedy of that place", async () => {
    const credential = credentialOf({ kind: "bearer" });
    const left = request([["x-blob", placeholderOf(credential)]]);
    await assert.rejects(credential.attach(left), (error: unknown) => {
      assert.ok(error instanceof Refusal);
      assert.match(error.remedy ?? "", /where its kind has the secret/);
      return true;
    });
  });

  it("is another for each sandbox, with the shape the tool expects", () => {
    const [one, two] = [credentialOf({ kind: "bearer" }), credentialOf({ kind: "bearer" })];
    assert.notEqual(placeholderOf(one), placeholderOf(two));
    assert.match(placeholderOf(one), /^callgate-[0-9a-f]{32}$/);
    const shaped = credentialOf({ kind: "bearer" }, { spec: { shape: "ghp_" } });
    assert.match(placeholderOf(shaped), /^ghp_[0-9a-f]{32}$/);
    assert.deepEqual(shaped.variables, { TOKEN: placeholderOf(shaped) });
  });
});

describe("a credential", () => {
  it("is for one host, with its port", async () => {
    for (const host of ["other.example.com", `${HOST}:8443`, `x.${HOST}`, `${HOST}.`]) {
      const credential = createCredential(
        { name: "test-key", host: HOST, how: { kind: "bearer" }, masksResponses: true },
        async () => assert.fail("nothing may be fetched"),
      );
      await refused(credential, request([], "/", host), /not for this host/);
    }
  });

  it("is fetched at the first use, once, and told before it is used", async () => {
    let fetched = 0;
    const told: string[] = [];
    const credential = createCredential(
      { name: "test-key", host: HOST, how: { kind: "basic", user: "ada" }, masksResponses: false },
      async () => {
        fetched += 1;
        return SECRET;
      },
      { onSecret: (values) => told.push(...values) },
    );
    assert.deepEqual([fetched, credential.secrets], [0, []]);
    await Promise.all([credential.attach(request()), credential.attach(request())]);
    assert.equal(fetched, 1);
    assert.deepEqual(told, [SECRET, BASIC.slice("Basic ".length)]);
    assert.deepEqual(credential.secrets, told);
    holdsNone(credential, ...told);
  });

  it("is not used where its value cannot be masked", async () => {
    const credential = credentialOf(
      { kind: "bearer" },
      {
        onSecret: (values) => {
          throw new Error(values.join());
        },
      },
    );
    await refused(credential, request(), /cannot be masked/);
    assert.deepEqual(credential.secrets, []);
  });

  const bad: readonly [secret: string, words: RegExp, how?: CredentialKind][] = [
    ["line\r\nx: y", /cannot be sent/],
    ["line\nfeed", /cannot be sent/],
    ["with\0nul", /cannot be sent/],
    ["пароль-тайный", /cannot be sent/],
    ["umläut-key", /cannot be sent/],
    ["with\nfeed", /cannot be sent/, { kind: "basic", user: "ada" }],
    ["пароль-тайный", /cannot be sent/, { kind: "basic", user: "ada" }],
    ["q9#x!", /shorter than 6/],
    ["", /shorter than 6/],
    ["{not json:secret}", /not a JSON object/, { kind: "sigv4", region: "r", service: "s" }],
    ['"a-text-secret"', /not a JSON object/, { kind: "sigv4", region: "r", service: "s" }],
    [
      '{"accessKeyId":"AKIDEXAMPLE"}',
      /secretAccessKey .* shorter/,
      { kind: "sigv4", region: "r", service: "s" },
    ],
  ];
  for (const [secret, words, written] of bad) {
    const how: CredentialKind = written ?? { kind: "bearer" };
    it(`${how.kind}: ${JSON.stringify(secret)} is refused in words that do not hold it`, async () => {
      const credential = credentialOf(how, { secret, onSecret: () => assert.fail("it is not held") });
      await refused(credential, request(), words, ...(secret === "" ? [] : [secret]));
    });
  }

  it("basic: a password beyond ASCII is sent as UTF-8", async () => {
    const made = request();
    await credentialOf({ kind: "basic", user: "ada" }, { secret: "pässword" }).attach(made);
    assert.deepEqual(made.headers, [
      ["authorization", `Basic ${Buffer.from("ada:pässword").toString("base64")}`],
    ]);
  });

  it("that cannot be had says why in the gate's words only, and is not asked for again", async () => {
    let asked = 0;
    const make = (error: Error): GateCredential =>
      createCredential(
        { name: "test-key", host: HOST, how: { kind: "bearer" }, masksResponses: true },
        async () => {
          asked += 1;
          throw error;
        },
      );
    const foreign = make(new Error(`odd: ${SECRET}`, { cause: SECRET }));
    await refused(foreign, request(), /^credential `test-key` cannot be had$/);
    await refused(foreign, request(), /cannot be had/);
    assert.equal(asked, 1);
    const known = make(new GateError("ERR_INTERNAL", "the file is gone", { cause: new Error(SECRET) }));
    await refused(known, request(), /^credential `test-key` cannot be had: the file is gone$/);
  });
});

describe("a secret that cannot be fetched", () => {
  it("is tried again, and not at once", async () => {
    let nowMs = 1_000_000;
    let fetched = 0;
    const credential = createCredential(
      { name: "own", host: "api.test", how: { kind: "bearer" }, masksResponses: false },
      async () => {
        fetched += 1;
        if (fetched === 1) throw new Error("slow");
        return "secret-value";
      },
      { now: () => nowMs },
    );
    const sent = () => ({ method: "GET", target: "/", headers: [], host: "api.test" });
    await assert.rejects(credential.attach(sent()), /cannot be had/);
    await assert.rejects(credential.attach(sent()), /cannot be had/);
    assert.equal(fetched, 1);
    nowMs += FETCH_AGAIN_MS;
    await credential.attach(sent());
    assert.equal(fetched, 2);
  });
});
