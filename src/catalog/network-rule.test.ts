import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GateError } from "../contract/errors.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { callNetwork, describeNetwork } from "./call-network.ts";
import { parseManifest } from "./manifest.ts";
import { checkRules, completeRule, parseNetText, RULES_MAX } from "./network-rule.ts";

function manifest(network: string, tier = "medium"): string {
  return `name: x.y\ndescription: d\ntier: ${tier}\ninput: { type: object, additionalProperties: false }\nrun: { command: [x] }\nsandbox: { network: ${network} }\n`;
}

function networkOf(network: string, tier?: string): unknown {
  return parseManifest(manifest(network, tier), "x.yaml").sandbox.network;
}

function refusal(work: () => unknown): GateError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof GateError, String(error));
    return error;
  }
  assert.fail("it was taken");
}

describe("--net", () => {
  const taken: readonly [text: string, rule: object][] = [
    ["example.com", { host: "example.com", ports: [443], protocol: "tls" }],
    ["EXAMPLE.com:8443", { host: "example.com", ports: [8443], protocol: "tls" }],
    ["example.com:80", { host: "example.com", ports: [80], protocol: "http" }],
    ["db.internal:5432,private", { host: "db.internal", ports: [5432], protocol: "tcp", allowPrivate: true }],
    ["example.com:9443,tls", { host: "example.com", ports: [9443], protocol: "tls" }],
    [
      "api.example.com,credential=read",
      { host: "api.example.com", ports: [443], protocol: "tls", credential: "read" },
    ],
    ["bücher.example", { host: "xn--bcher-kva.example", ports: [443], protocol: "tls" }],
    ["192.0.2.7:22", { host: "192.0.2.7", ports: [22], protocol: "tcp" }],
    ["*.example.com", { host: "*.example.com", ports: [443], protocol: "tls" }],
    ["*.githubusercontent.com", { host: "*.githubusercontent.com", ports: [443], protocol: "tls" }],
  ];
  for (const [text, rule] of taken) it(`takes ${text}`, () => assert.deepEqual(parseNetText(text), rule));

  const refusedTexts: readonly [text: string, why: RegExp][] = [
    ["", /not a host/],
    [":443", /not a host/],
    ["example.com:0", /not a host/],
    ["example.com:65536", /not a host/],
    ["example.com:https", /not a host/],
    ["*", /more than a name/],
    ["*.com", /whoever registers/],
    ["*.co.uk", /whoever registers/],
    ["*.github.io", /whoever registers/],
    ["a.*.example.com", /more than a name/],
    ["exa mple.com", /not a host name/],
    ["example.com.", /not a host name/],
    ["-x.example.com", /not a host name/],
    ["https://example.com", /not a host/],
    ["0x7f000001", /not a host name/],
    ["2130706433", /four numbers/],
    ["127.1", /four numbers/],
    ["010.0.0.1", /four numbers/],
    ["127.0.0.1:80", /something else inside/],
    ["0.0.0.0:80", /something else inside/],
    ["198.18.0.5:80", /something else inside/],
    ["224.0.0.1:80", /something else inside/],
    ["192.0.2.7", /no .*names none|names none/],
    ["localhost:80", /own loopback/],
    ["x.localhost:80", /own loopback/],
    ["[::1]:80", /not a host/],
    ["example.com,prviate", /says nothing/],
    ["example.com,tcp", /has to name its ports/],
    ["db.example:5432,credential=x", /takes no credential/],
    ["*.example.com,credential=x", /one host/],
  ];
  for (const [text, why] of refusedTexts) {
    it(`refuses ${JSON.stringify(text)}, with the way out`, () => {
      const error = refusal(() => parseNetText(text));
      assert.match(error.message, why);
      assert.equal(error.code, "ERR_USAGE");
      assert.ok(error.remedy, "no remedy");
    });
  }

  it("refuses two rules for one place, and more rules than there may be", () => {
    const rule = parseNetText("example.com");
    assert.match(refusal(() => checkRules([rule, rule])).message, /example\.com:443/);
    checkRules([rule, parseNetText("example.com:8443")]);
    const many = Array.from({ length: RULES_MAX + 1 }, (_, index) => parseNetText(`h${index}.example`));
    checkRules(many.slice(1));
    assert.match(refusal(() => checkRules(many)).message, /at most 64/);
  });
});

describe("a manifest's network", () => {
  it("takes short and long rules", () => {
    const network = networkOf(
      "{ allow: [example.com, 'db.example:5432', { host: api.example.com, http: [{ methods: [GET], paths: ['/repos/*'] }], credential: read }] }",
    );
    assert.deepEqual(network, {
      mode: "names",
      allow: [
        { host: "example.com", ports: [443], protocol: "tls" },
        { host: "db.example", ports: [5432], protocol: "tcp" },
        {
          host: "api.example.com",
          ports: [443],
          protocol: "tls",
          http: [{ methods: ["GET"], paths: ["/repos/*"] }],
          credential: "read",
        },
      ],
    });
  });

  const wrong: readonly [what: string, network: string, why: RegExp, place: RegExp][] = [
    ["a wildcard of everything", "{ allow: ['*'] }", /more than a name/, /^x\.yaml:6:/],
    ["an unknown key", "{ allow: [{ host: a.example, prots: [1] }] }", /prots/, /^x\.yaml:6:/],
    [
      "a method in small letters",
      "{ allow: [{ host: a.example, http: [{ methods: [get], paths: ['/'] }] }] }",
      /capital/,
      /6:/,
    ],
    [
      "a path that is none",
      "{ allow: [{ host: a.example, http: [{ methods: [GET], paths: ['x'] }] }] }",
      /not a path/,
      /6:/,
    ],
    [
      "a path with dots",
      "{ allow: [{ host: a.example, http: [{ methods: [GET], paths: ['/a/../b'] }] }] }",
      /normalised/,
      /6:/,
    ],
    [
      "stars inside",
      "{ allow: [{ host: a.example, http: [{ methods: [GET], paths: ['/a/**/b'] }] }] }",
      /inside/,
      /6:/,
    ],
    [
      "http on tcp",
      "{ allow: [{ host: a.example, ports: [1], protocol: tcp, http: [{ methods: [GET], paths: ['/'] }] }] }",
      /no requests/,
      /6:/,
    ],
    ["the same place twice", "{ allow: [a.example, { host: a.example }] }", /two rules/, /6:/],
    ["options in a short rule", "{ allow: ['a.example,private'] }", /not a host/, /6:/],
  ];
  for (const [what, network, why, place] of wrong) {
    it(`refuses ${what}, and says where`, () => {
      const error = refusal(() => networkOf(network));
      assert.match(error.message, why);
      assert.equal(error.code, "ERR_CONFIG_INVALID");
      assert.match(`${error.place?.file}:${error.place?.line}:`, place);
    });
  }

  it("gives tier low no credential", () => {
    const withOne = "{ allow: [{ host: a.example, credential: read }] }";
    assert.match(refusal(() => networkOf(withOne, "low")).message, /tier `low` has no credentials/);
    networkOf("{ allow: [a.example] }", "low");
  });
});

describe("the network of one call", () => {
  it("is the manifest's, or what an exec names", () => {
    const tool = parseManifest(manifest("{ allow: [a.example] }"), "x.yaml");
    assert.equal(callNetwork(tool, { hosts: ["evil.example"] }), tool.sandbox.network);
    assert.deepEqual(callNetwork(EXEC_TOOL, {}), { mode: "none" });
    assert.deepEqual(callNetwork(EXEC_TOOL, { hosts: ["a.example"] }), {
      mode: "names",
      allow: [completeRule({ host: "a.example" })],
    });
    assert.deepEqual(callNetwork(EXEC_TOOL, { observe: "refuse" }), {
      mode: "names",
      allow: [],
      observe: "refuse",
    });
    assert.throws(() => callNetwork(EXEC_TOOL, { hosts: ["*"] }), /more than a name/);
  });

  it("is described in lines", () => {
    assert.equal(describeNetwork({ mode: "none" }), "none");
    const rule = parseNetText("db.internal:5432,private");
    assert.equal(describeNetwork({ mode: "names", allow: [rule] }), "db.internal:5432  tcp  private too");
  });
});
