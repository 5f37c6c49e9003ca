import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GateError } from "../contract/errors.ts";
import type { NetworkRule } from "../contract/network.ts";
import { SPECIAL_BLOCKS } from "../egress/special-addresses.ts";
import { EXEC_TOOL } from "./builtin.ts";
import { callNetwork, describeNetwork } from "./call-network.ts";
import { parseManifest } from "./manifest.ts";
import { checkRules, completeRule, RULES_MAX } from "./network-rule.ts";
import { parseNetText } from "./network-text.ts";

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
    ["db.example:5432,credential=x", { host: "db.example", ports: [5432], protocol: "tls", credential: "x" }],
    ["a.example:80,credential=x", { host: "a.example", ports: [80], protocol: "http", credential: "x" }],
    ["bücher.example", { host: "xn--bcher-kva.example", ports: [443], protocol: "tls" }],
    ["192.0.2.7:22", { host: "192.0.2.7", ports: [22], protocol: "tcp" }],
    ["*.example.com", { host: "*.example.com", ports: [443], protocol: "tls" }],
    ["*.githubusercontent.com", { host: "*.githubusercontent.com", ports: [443], protocol: "tls" }],
  ];
  for (const [text, rule] of taken) it(`takes ${text}`, () => assert.deepEqual(parseNetText(text), rule));

  const refusedTexts: readonly [text: string, why: RegExp, remedy: RegExp][] = [
    ["", /no host/, /HOST:PORT/],
    [":443", /no host/, /HOST:PORT/],
    ["example.com:0", /`0` is not a port/, /1 to 65535/],
    ["example.com:65536", /`65536` is not a port/, /1 to 65535/],
    ["example.com:https", /`https` is not a port/, /1 to 65535/],
    ["example.com:", /not a port/, /1 to 65535/],
    ["example.com:443-445", /a range/, /one port/],
    ["example.com:443:444", /more than one port/, /`example\.com:443`/],
    ["*", /more than a name/, /`\*\.` and a name/],
    ["*.com", /whoever registers/, /one by one/],
    ["*.co.uk", /whoever registers/, /one by one/],
    ["*.github.io", /whoever registers/, /one by one/],
    ["*.", /no host/, /write a name/],
    ["a.*.example.com", /more than a name/, /write a name/],
    ["exa mple.com", /not a host name/, /api\.example\.com/],
    ["exam\tple.com", /not a host name/, /api\.example\.com/],
    ["ex%61mple.com", /not a host name/, /api\.example\.com/],
    ["exam_ple.com", /not a host name/, /api\.example\.com/],
    ["example.com.", /ends with a dot/, /leave the dot out: `example\.com`/],
    ["-x.example.com", /not a host name/, /api\.example\.com/],
    ["https://example.com", /is a URL/, /leave out the scheme and the path: write `example\.com`/],
    ["https://u:p@example.com:8443/x", /`https:\/\/…@example\.com:8443\/x` is a URL/, /`example\.com:8443`/],
    ["token@example.com", /`…@example\.com` has a user in it/, /write `example\.com`/],
    ["http://[::1]/", /is a URL/, /write a name/],
    ["example.com/path", /`\/path` is a path/, /write `example\.com`; .*`http`/],
    ["example.com:443/path", /`\/path` is a path/, /`example\.com:443`/],
    ["example.com?a", /is a path/, /`example\.com`/],
    ["example.com#a", /is a path/, /`example\.com`/],
    ["example.com\\a", /is a path/, /`example\.com`/],
    ["user@example.com", /has a user/, /`example\.com`/],
    ["0x7f000001", /another form/, /`127\.0\.0\.1`/],
    ["0xa.1", /another form/, /`10\.0\.0\.1`/],
    ["2130706433", /four numbers/, /10\.1\.2\.3/],
    ["127.1", /four numbers/, /10\.1\.2\.3/],
    ["010.0.0.1", /four numbers/, /10\.1\.2\.3/],
    ["127.0.0.1:80", /sandbox's own/, /NAME:PORT,private/],
    ["0.0.0.0:80", /no host's address/, /may be reached/],
    ["198.18.0.5:80", /sandbox's own/, /NAME:PORT,private/],
    ["224.0.0.1:80", /no host's address/, /may be reached/],
    ["192.0.2.7", /names none/, /192\.0\.2\.7:PORT,tcp/],
    ["192.0.2.7:443", /names none/, /192\.0\.2\.7:443,tcp/],
    ["169.254.169.254", /metadata service/, /may be reached/],
    ["localhost:80", /sandbox's own/, /NAME:PORT,private/],
    ["x.localhost:80", /sandbox's own/, /NAME:PORT,private/],
    ["[::1]:80", /IPv6/, /name/],
    ["::1", /IPv6/, /name/],
    ["2001:db8::1", /IPv6/, /name/],
    ["example.com,prviate", /says nothing/, /did you mean `private`/],
    ["example.com,https", /says nothing/, /did you mean `tls`/],
    ["example.com,htp", /says nothing/, /did you mean `http`/],
    ["example.com,credental=a", /says nothing/, /did you mean `credential=a`/],
    ["example.com,elsewhere", /says nothing/, /known are private/],
    ["example.com,", /says nothing/, /known are private/],
    ["example.com:443,5432", /second port/, /second `--net example\.com:5432`/],
    ["example.com,tls,http", /contradict/, /one of them/],
    ["example.com:9000,tcp,tls", /contradict/, /one of them/],
    ["example.com,tls,tls", /said twice/, /leave one out/],
    ["example.com,private,private", /said twice/, /leave one out/],
    ["example.com,credential=a,credential=b", /two are named/, /leave one out/],
    ["example.com,credential=", /names no credential/, /credential=NAME/],
    ["example.com,credential", /names no credential/, /credential=NAME/],
    ["example.com,credential=A b", /cannot be a credential/, /small letters/],
    ["example.com,tcp", /has to name its port/, /`example\.com:PORT,tcp`/],
    ["db.example:5432,tcp,credential=x", /takes no credential/, /`tls` instead of `tcp`/],
    ["*.example.com,credential=x", /one host/, /name the host/],
  ];
  for (const [text, why, remedy] of refusedTexts) {
    it(`refuses ${JSON.stringify(text)}, with the way out`, () => {
      const error = refusal(() => parseNetText(text));
      assert.match(error.message, why);
      assert.match(error.remedy ?? "", remedy);
      assert.equal(error.code, "ERR_USAGE");
    });
  }

  it("throws nothing else, whatever it is given, and reads what it read the same", () => {
    const parts = fc.oneof(
      fc.constantFrom(
        "example.com",
        "*.",
        ":",
        "443",
        ",tls",
        ",private",
        "/",
        "@",
        "[",
        "https://",
        ".",
        "10.1.2.3",
      ),
      fc.string({ unit: "binary", maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 6 }), (all) => {
        let rule: NetworkRule;
        try {
          rule = parseNetText(all.join(""));
        } catch (error) {
          assert.ok(error instanceof GateError && error.remedy !== undefined, String(error));
          return;
        }
        assert.match(rule.host, /^(?:\*\.)?[a-z0-9.-]+$/);
        assert.equal(completeRule(rule).host, rule.host);
      }),
      { numRuns: 2000 },
    );
  });

  it("refuses every address of a cloud's metadata service that the edge refuses", () => {
    const addresses = SPECIAL_BLOCKS.filter(
      ({ name, cidr }) => name.includes("metadata") && cidr.endsWith("/32"),
    );
    assert.ok(addresses.length > 5);
    for (const { cidr } of addresses)
      assert.match(refusal(() => parseNetText(`${cidr.replace("/32", "")}:80`)).message, /metadata service/);
  });

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

  const http = (rule: string): string => `{ allow: [{ host: a.example, http: [${rule}] }] }`;
  const wrong: readonly [what: string, network: string, why: RegExp, remedy: RegExp][] = [
    ["a wildcard of everything", "{ allow: ['*'] }", /more than a name/, /write a name/],
    ["an unknown key", "{ allow: [{ host: a.example, prots: [1] }] }", /prots/, /`ports`/],
    ["a method in small letters", http("{ methods: [get], paths: ['/'] }"), /capital/, /^$/],
    ["a path that is none", http("{ methods: [GET], paths: ['x'] }"), /not a path/, /begin it/],
    ["a path with dots", http("{ methods: [GET], paths: ['/a/../b'] }"), /normalised/, /write it decoded/],
    ["stars inside", http("{ methods: [GET], paths: ['/a/**/b'] }"), /inside/, /end it with/],
    [
      "no requests",
      "{ allow: [{ host: a.example, http: [] }] }",
      /must have at least 1 entry$/,
      /remove the key/,
    ],
    [
      "http on tcp",
      "{ allow: [{ host: a.example, ports: [1], protocol: tcp, http: [{ methods: [GET], paths: ['/'] }] }] }",
      /no requests/,
      /or remove `http`$/,
    ],
    ["the same place twice", "{ allow: [a.example, { host: a.example }] }", /two rules/, /one of them/],
    [
      "options in a short rule",
      "{ allow: ['a.example:8443,private,tls,credential=x'] }",
      /words after a comma/,
      /`\{ host: "a\.example", ports: \[8443\], allowPrivate: true, protocol: tls, credential: x \}`/,
    ],
    ["a path in a short rule", "{ allow: [a.example/x] }", /`\/x` is a path/, /`http` of a rule/],
    ["a path in a long rule", "{ allow: [{ host: a.example/x }] }", /`\/x` is a path/, /write `a\.example`/],
    [
      "a URL in a short rule",
      "{ allow: ['https://a.example/'] }",
      /is a URL/,
      /scheme and the path: write `a\.example`/,
    ],
    ["a URL in a long rule", "{ allow: [{ host: 'https://a.example/' }] }", /is a URL/, /write `a\.example`/],
    [
      "a port in a long rule",
      "{ allow: [{ host: 'a.example:8443' }] }",
      /a host and a port/,
      /`ports: \[8443\]`/,
    ],
    ["an IPv6 address", "{ allow: [{ host: '::1' }] }", /IPv6/, /name/],
    ["a port out of range", "{ allow: [{ host: a.example, ports: [70000] }] }", /65535/, /1 to 65535/],
    [
      "a range of ports",
      "{ allow: [{ host: a.example, ports: ['1-5'] }] }",
      /whole number|a number/,
      /range/,
    ],
    ["no host", "{ allow: [] }", /must have at least 1 entry$/, /`network: none`/],
    ["a host alone", "{ allow: a.example }", /must be a list/, /`allow: \[a\.example\]`/],
    [
      "a wildcard without quotes",
      "{ allow: [*.a.example] }",
      /without quotes is an alias/,
      /quote it: `"\*\.a\.example"`/,
    ],
    [
      "https for a protocol",
      "{ allow: [{ host: a.example, protocol: https }] }",
      /must be one of/,
      /^write `protocol: tls`, or remove the key$/,
    ],
    [
      "another protocol",
      "{ allow: [{ host: a.example, protocol: udp }] }",
      /must be one of/,
      /`http` or `tcp`/,
    ],
    [
      "a wildcard and a port",
      "{ allow: [{ host: '*.a.example:443' }] }",
      /a host and a port/,
      /`host: "\*\.a\.example"`/,
    ],
    ["a host for a network", "a.example", /network/, /`network: \{ allow: \[api\.example\.com\] \}`/],
  ];
  for (const [what, network, why, remedy] of wrong) {
    it(`refuses ${what}, and says where`, () => {
      const error = refusal(() => networkOf(network));
      assert.match(error.message, why);
      assert.match(error.remedy ?? "", remedy);
      assert.match(error.code, /^ERR_CONFIG_/);
      assert.match(`${error.place?.file}:${error.place?.line}:`, /^x\.yaml:6:/);
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
