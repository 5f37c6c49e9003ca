import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpRule } from "../../contract/network.ts";
import {
  HEADER_BYTES_MAX,
  HEADERS_MAX,
  type Judgement,
  judgeRequest,
  type RequestHead,
  shownPath,
  TARGET_BYTES_MAX,
} from "./judge-request.ts";

const HTTP: readonly HttpRule[] = [
  { methods: ["GET", "HEAD"], paths: ["/repos/*", "/open/**"] },
  { methods: ["POST"], paths: ["/repos/*/issues"] },
  { methods: ["GET"], paths: ["/live"], upgrade: true },
];
const HOST = ["Host", "api.test"];
const WEBSOCKET = [...HOST, "Connection", "Upgrade", "Upgrade", "websocket"];

function judge(given: Partial<RequestHead>): Judgement {
  return judgeRequest({
    ...{ method: "GET", target: "/repos/a", rawHeaders: HOST, httpVersion: "1.1" },
    ...{ rule: { protocol: "tls", http: HTTP }, name: "api.test", port: 443 },
    ...given,
  });
}

function headersOf(given: Partial<RequestHead>): [string, string][] {
  const judged = judge(given);
  assert.ok("forward" in judged, JSON.stringify(judged));
  return judged.forward.headers;
}

const PASSED: readonly (readonly [what: string, Partial<RequestHead>])[] = [
  ["a plain request", {}],
  ["a query", { target: "/repos/a?b=../c%2f" }],
  ["HEAD", { method: "HEAD" }],
  ["HTTP/1.0", { httpVersion: "1.0" }],
  ["a Host in capitals", { rawHeaders: ["HOST", "API.Test"] }],
  ["a Host with the default port", { rawHeaders: ["Host", "api.test:443"] }],
  ["absolute-form", { target: "https://API.test/repos/a?b" }],
  ["every path that is below", { target: "/open/a/../b" }],
  [
    "POST with chunks",
    { method: "POST", target: "/repos/a/issues", rawHeaders: [...HOST, "Transfer-Encoding", "chunked"] },
  ],
  [
    "POST with a length",
    { method: "POST", target: "/repos/a/issues", rawHeaders: [...HOST, "Content-Length", "12"] },
  ],
  ["Connection: keep-alive", { rawHeaders: [...HOST, "Connection", "keep-alive, TE", "TE", "trailers"] }],
  [
    "an offer of h2c",
    {
      rawHeaders: [
        ...HOST,
        "Connection",
        "Upgrade, HTTP2-Settings",
        "Upgrade",
        "h2c",
        "HTTP2-Settings",
        "AA",
      ],
    },
  ],
  ["WebSocket", { target: "/live", rawHeaders: WEBSOCKET }],
  [
    "a rule for requests without one for http",
    { target: "/anything//%zz", method: "PURGE", rule: { protocol: "tls" } },
  ],
  ["http in clear", { rule: { protocol: "http", http: HTTP }, port: 80 }],
];

for (const [what, given] of PASSED)
  test(`${what} passes`, () => assert.ok("forward" in judge(given), JSON.stringify(judge(given))));

const REFUSED: readonly (readonly [what: string, Partial<RequestHead>, why: RegExp])[] = [
  ["another method", { method: "POST" }, /^POST \/repos\/a is not in the rules for api\.test$/],
  ["another path", { target: "/admin" }, /GET \/admin is not in the rules/],
  ["a method in lower case", { method: "get" }, /not in the rules/],
  ["a way up", { target: "/open/../admin" }, /not in the rules/],
  ["an encoded way up", { target: "/open/%2e%2e/admin" }, /not in the rules/],
  ["an encoded separator", { target: "/open/..%2fadmin" }, /not in the rules/],
  ["a backslash", { target: "/open/..\\admin" }, /not in the rules/],
  ["parameters", { target: "/open/..;/admin" }, /not in the rules/],
  ["an unreadable path", { target: "/open/%252e" }, /encoded twice/],
  ["a fragment", { target: "/open/a#b" }, /fragment/],
  ["no Host", { rawHeaders: [] }, /no Host/],
  ["two Hosts", { rawHeaders: [...HOST, ...HOST] }, /more than one Host/],
  ["another Host", { rawHeaders: ["Host", "evil.test"] }, /its Host is not `api\.test`/],
  ["an empty Host", { rawHeaders: ["Host", ""] }, /its Host is not/],
  ["a Host with a dot at its end", { rawHeaders: ["Host", "api.test."] }, /its Host is not/],
  ["a Host with another port", { rawHeaders: ["Host", "api.test:80"] }, /its Host is not/],
  ["a Host with a user", { rawHeaders: ["Host", "a@api.test"] }, /its Host is not/],
  ["a Host list", { rawHeaders: ["Host", "api.test, evil.test"] }, /its Host is not/],
  ["a Host without its port", { port: 8443 }, /its Host is not `api\.test:8443`/],
  ["absolute-form of another host", { target: "https://evil.test/repos/a" }, /another host/],
  ["absolute-form with a user", { target: "https://api.test@evil.test/repos/a" }, /another host/],
  ["absolute-form of another scheme", { target: "http://api.test/repos/a" }, /another scheme/],
  ["absolute-form with a backslash", { target: "https://api.test\\@evil.test/repos/a" }, /another host/],
  ["authority-form", { target: "api.test:443" }, /not a path/],
  ["CONNECT", { method: "CONNECT", target: "api.test:443" }, /CONNECT/],
  ["CONNECT to a path", { method: "CONNECT", target: "/repos/a" }, /CONNECT/],
  ["asterisk-form", { method: "OPTIONS", target: "*" }, /`\*`/],
  ["a space in the target", { target: "/repos/a b" }, /has to be encoded/],
  ["HTTP/2.0", { httpVersion: "2.0" }, /version/],
  ["HTTP/0.9", { httpVersion: "0.9" }, /version/],
  ["a method that is no token", { method: "GET /x" }, /not a token/],
  ["both lengths", { rawHeaders: [...HOST, "Transfer-Encoding", "chunked", "Content-Length", "3"] }, /both/],
  [
    "two lengths",
    { rawHeaders: [...HOST, "Content-Length", "3", "content-length", "3"] },
    /more than one Content-Length/,
  ],
  ["a list of lengths", { rawHeaders: [...HOST, "Content-Length", "3, 3"] }, /not a number/],
  ["a signed length", { rawHeaders: [...HOST, "Content-Length", "+3"] }, /not a number/],
  ["a hexadecimal length", { rawHeaders: [...HOST, "Content-Length", "0x3"] }, /not a number/],
  ["an empty length", { rawHeaders: [...HOST, "Content-Length", ""] }, /not a number/],
  ["an endless length", { rawHeaders: [...HOST, "Content-Length", "9".repeat(16)] }, /not a number/],
  [
    "Transfer-Encoding: gzip",
    { rawHeaders: [...HOST, "Transfer-Encoding", "gzip, chunked"] },
    /not `chunked`/,
  ],
  [
    "Transfer-Encoding: identity",
    { rawHeaders: [...HOST, "Transfer-Encoding", "identity"] },
    /not `chunked`/,
  ],
  [
    "Transfer-Encoding in capitals",
    { rawHeaders: [...HOST, "Transfer-Encoding", "Chunked"] },
    /not `chunked`/,
  ],
  [
    "Transfer-Encoding with a tab",
    { rawHeaders: [...HOST, "Transfer-Encoding", "\tchunked"] },
    /not `chunked`/,
  ],
  [
    "two Transfer-Encodings",
    { rawHeaders: [...HOST, "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked"] },
    /more than one/,
  ],
  [
    "chunks in HTTP/1.0",
    { httpVersion: "1.0", rawHeaders: [...HOST, "Transfer-Encoding", "chunked"] },
    /HTTP\/1\.0/,
  ],
  ["Connection: host", { rawHeaders: [...HOST, "Connection", "close, Host"] }, /Connection names/],
  ["Connection: authorization", { rawHeaders: [...HOST, "Connection", "authorization"] }, /Connection names/],
  [
    "Connection: content-length",
    { rawHeaders: [...HOST, "Connection", "content-length"] },
    /Connection names/,
  ],
  ["Connection: x", { rawHeaders: [...HOST, "Connection", "x-forwarded-for"] }, /Connection names/],
  ["a name with a space", { rawHeaders: [...HOST, "Content-Length ", "3"] }, /not a token/],
  ["an empty name", { rawHeaders: [...HOST, "", "3"] }, /not a token/],
  ["CR in a value", { rawHeaders: [...HOST, "X", "a\rb"] }, /control character/],
  ["LF in a value", { rawHeaders: [...HOST, "X", "a\nb"] }, /control character/],
  ["NUL in a value", { rawHeaders: [...HOST, "X", "a\0b"] }, /control character/],
  [
    "another Upgrade",
    { rawHeaders: [...HOST, "Connection", "upgrade", "Upgrade", "tls/1.0"] },
    /not to WebSocket/,
  ],
  [
    "two Upgrades",
    { rawHeaders: [...HOST, "Connection", "upgrade", "Upgrade", "h2c, websocket"] },
    /not to WebSocket/,
  ],
  ["WebSocket by POST", { method: "POST", target: "/repos/a/issues", rawHeaders: WEBSOCKET }, /not GET/],
  [
    "WebSocket without Connection",
    { target: "/live", rawHeaders: [...HOST, "Upgrade", "websocket"] },
    /does not name it/,
  ],
  [
    "WebSocket with a body",
    { target: "/live", rawHeaders: [...WEBSOCKET, "Content-Length", "0"] },
    /has a body/,
  ],
  ["WebSocket without a rule for it", { rawHeaders: WEBSOCKET }, /^a WebSocket is not in the rules for /],
  [
    "WebSocket where no rule is for requests",
    { rawHeaders: WEBSOCKET, rule: { protocol: "tls" } },
    /WebSocket/,
  ],
  [
    "a wrong Host where no rule is for requests",
    { rawHeaders: ["Host", "x"], rule: { protocol: "tls" } },
    /its Host/,
  ],
];

for (const [what, given, why] of REFUSED)
  test(`${what} is refused`, () => {
    const judged = judge(given);
    assert.match("refused" in judged ? judged.refused : "", why);
  });

test("what is forwarded is in order, and has nothing that is the connection's own", () => {
  const rawHeaders = [
    ...[
      "Accept",
      "a",
      "Host",
      "API.test",
      "Keep-Alive",
      "timeout=5",
      "Proxy-Authorization",
      "x",
      "ACCEPT",
      "b",
    ],
    ...["Connection", "keep-alive, close", "Proxy-Connection", "close", "TE", "gzip, trailers", "X-Last", ""],
  ];
  assert.deepEqual(headersOf({ rawHeaders }), [
    ["accept", "a"],
    ["host", "API.test"],
    ["accept", "b"],
    ["x-last", ""],
    ["te", "trailers"],
    ["connection", "te"],
  ]);
});

test("a WebSocket keeps its Upgrade, and an offer of h2c does not", () => {
  const live = headersOf({ target: "/live", rawHeaders: [...WEBSOCKET, "Sec-WebSocket-Key", "k"] });
  assert.deepEqual(live.slice(1), [
    ["sec-websocket-key", "k"],
    ["connection", "upgrade"],
    ["upgrade", "websocket"],
  ]);
  assert.deepEqual(headersOf({ rawHeaders: [...HOST, "Connection", "Upgrade", "Upgrade", "h2c"] }), [
    ["host", "api.test"],
  ]);
});

test("absolute-form is forwarded as a path", () => {
  for (const [target, path] of [
    ["https://api.test", "/"],
    ["https://api.test?a", "/?a"],
    ["https://api.test:443/repos/a", "/repos/a"],
  ] as const) {
    const rule = { protocol: "tls" } as const;
    const judged = judge({ target, rule });
    assert.equal("forward" in judged && judged.forward.target, path);
  }
});

test("bounds are met exactly", () => {
  const many = (count: number) => [...HOST, ...Array.from({ length: count - 1 }, () => ["x", "y"]).flat()];
  assert.ok("forward" in judge({ rawHeaders: many(HEADERS_MAX) }));
  assert.match(JSON.stringify(judge({ rawHeaders: many(HEADERS_MAX + 1) })), /more than 200 headers/);
  const long = (bytes: number) => [...HOST, "x", "y".repeat(bytes - "hostapi.testx".length)];
  assert.ok("forward" in judge({ rawHeaders: long(HEADER_BYTES_MAX) }));
  assert.match(JSON.stringify(judge({ rawHeaders: long(HEADER_BYTES_MAX + 1) })), /headers are longer/);
  const far = (bytes: number) => `/open/${"a".repeat(bytes - "/open/".length)}`;
  assert.ok("forward" in judge({ target: far(TARGET_BYTES_MAX) }));
  assert.match(JSON.stringify(judge({ target: far(TARGET_BYTES_MAX + 1) })), /target is longer/);
});

test("a shown path has no query and nothing unprintable, and is short", () => {
  assert.equal(shownPath("/a?token=b"), "/a");
  assert.equal(shownPath("https://a.test/b?c"), "/b");
  assert.equal(shownPath("/a\u0007é"), "/a??");
  assert.equal(shownPath(`/${"a".repeat(600)}`).length, 512);
});

test("where the rules alone are in the way, it says which one is missing", () => {
  const remedyOf = (given: Partial<RequestHead>): string | undefined => {
    const judgement = judge(given);
    return "refused" in judgement ? judgement.remedy : assert.fail("it passes");
  };
  assert.match(remedyOf({ rawHeaders: WEBSOCKET }) ?? "", /add `upgrade: true`/);
  assert.match(
    remedyOf({ method: "POST", target: "/other?q=1" }) ?? "",
    /under `http`: \{ methods: \[POST\], paths: \["\/other"\] \}$/,
  );
  assert.equal(remedyOf({ target: "*" }), undefined, "no rule lets this pass");
});
