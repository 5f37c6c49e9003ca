import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DEFAULT_SETTINGS } from "./defaults.ts";
import { refuses } from "./gate-error.fixture.ts";
import { narrow } from "./narrow.ts";
import { parseSettings } from "./settings.ts";

const parse = (text: string) => parseSettings(text, "callgate.yaml");

const IMAGE = `sha256:${"0".repeat(64)}`;

describe("parseSettings", () => {
  it("fills in the built-in defaults", () => {
    assert.deepEqual(parse("version: 1\n"), DEFAULT_SETTINGS);
    assert.deepEqual(
      parse("version: 1\nsandbox: {}\ncallers: {}\nsession: {}\nenvironment: {}\n"),
      DEFAULT_SETTINGS,
    );
  });

  it("reads every key", () => {
    const text = `
version: 1
environment: { name: production, protected: true }
catalog: [tools/*.yaml, more/**/tool.yaml]
policies: rules
sandbox: { isolation: gvisor, root: "folder:images/root", docker: { socket: /d.sock, image: "a@${IMAGE}", runtime: crun }, hide: [.env], protect: [.git/hooks] }
callers: { owner: { kind: Agent, id: claude, claims: { team: core, level: 3, on: true } } }
egress: { resolvers: [192.0.2.53, "[2001:db8::53]:5353"], authorities: [certs/company.pem] }
session: { uses: 5, expires: 10m, depth: 0 }
`;
    assert.deepEqual(parse(text), {
      environment: { name: "production", protected: true },
      catalog: ["tools/*.yaml", "more/**/tool.yaml"],
      policies: "rules",
      sandbox: {
        isolation: "gvisor",
        root: { from: "folder", path: "images/root" },
        docker: { socket: "/d.sock", image: `a@${IMAGE}`, runtime: "crun" },
        hide: [".env"],
        protect: [".git/hooks"],
      },
      egress: { resolvers: ["192.0.2.53", "[2001:db8::53]:5353"], authorities: ["certs/company.pem"] },
      owner: { kind: "Agent", id: "claude", claims: { team: "core", level: 3, on: true } },
      session: { usesMax: 5, lifeMs: 600_000, depthMax: 0 },
    });
  });

  const refusals: readonly [line: string, message: RegExp, at: string, remedy?: RegExp][] = [
    ["polices: x", /^unknown key `polices`$/, "2:1", /did you mean `policies`/],
    ["sandbox: { isolaton: process }", /^unknown key `isolaton`$/, "2:12", /did you mean `isolation`/],
    ["sandbox: { isolation: none }", /must be one of/, "2:23"],
    ["environment: production", /`environment` must be a map/, "2:14"],
    ["environment: { protected: yes }", /`environment.protected` must be `true` or `false`/, "2:27"],
    ["catalog: tools/*.yaml", /`catalog` must be a list/, "2:10"],
    ["catalog: [../x.yaml]", /`..\/x.yaml` leaves the project/, "2:11"],
    ["catalog: [tools/../../x.yaml]", /leaves the project/, "2:11"],
    ["catalog: [/etc/x.yaml]", /is absolute/, "2:11", /relative to this file/],
    ["catalog: [~/x.yaml]", /not expanded/, "2:11"],
    ['catalog: ["{.,}./x.yaml"]', /character that is not allowed/, "2:11"],
    ['catalog: ["[.][.]/x.yaml"]', /character that is not allowed/, "2:11"],
    ['catalog: [".\\\\./x.yaml"]', /character that is not allowed/, "2:11"],
    ['catalog: [""]', /at least 1 characters/, "2:11"],
    ["policies: ../rules", /leaves the project/, "2:11"],
    ["policies: rules/*", /holds a wildcard/, "2:11"],
    [
      "egress: { resolvers: [dns.example] }",
      /an address, or an address and a port/,
      "2:23",
      /192\.0\.2\.53:53/,
    ],
    ["egress: { resolvers: ['192.0.2.53:70000'] }", /an address, or an address and a port/, "2:23"],
    ["egress: { resolvers: ['10.0.0.53]:53'] }", /an address, or an address and a port/, "2:23"],
    ["egress: { resolvers: ['[::1:53'] }", /an address, or an address and a port/, "2:23"],
    ["egress: { resolvers: ['[10.0.0.53]:53'] }", /an address, or an address and a port/, "2:23"],
    ["egress: { authorities: [/etc/ca.pem] }", /is absolute/, "2:25", /relative to this file/],
    ["egress: { proxy: x }", /unknown key `proxy`/, "2:11"],
    ["sandbox: { hide: [../x] }", /leaves the project/, "2:19"],
    ["sandbox: { protect: [/etc] }", /is absolute/, "2:22"],
    ["sandbox: { root: 'folder:/srv/root' }", /is absolute/, "2:18"],
    ["sandbox: { root: 'oci:../image' }", /leaves the project/, "2:18"],
    ["sandbox: { root: 'image:debian:12' }", /names no root file system/, "2:18", /NAME@sha256/],
    ["sandbox: { docker: { socket: docker.sock } }", /absolute path/, "2:30"],
    [
      "sandbox: { docker: { image: 'debian:12' } }",
      /`debian:12` does not name an image by its digest/,
      "2:29",
      /NAME@sha256/,
    ],
    ["session: { expires: 10 }", /`session.expires` must be text/, "2:21"],
    ["session: { expires: 10x }", /`x` is not a unit/, "2:21", /such as `30s`/],
    ["session: { uses: 0 }", /at least 1/, "2:18"],
    ["session: { depth: 9 }", /at most 8/, "2:19"],
    ["callers: { owner: { kind: Job } }", /`Job` and `Service` are not in this version/, "2:21"],
    ["callers: { owner: { id: 'a b' } }", /form expected/, "2:25"],
    ["callers: { owner: { claims: { a: [1] } } }", /`callers.owner.claims.a` must be/, "2:34"],
    ["callers: { oidc: [] }", /OIDC token is not in this version/, "2:12"],
    ["callers: { oauth: {} }", /OAuth access token is not in this version/, "2:12"],
    ["callers: { kubernetes: {} }", /Kubernetes .* not in this version/, "2:12"],
    ["callers: { spiffe: {} }", /SPIFFE .* not in this version/, "2:12"],
    ["upstreams: { fs: {} }", /`upstreams` .* is not in this version/, "2:1", /later version/],
  ];
  for (const [line, message, at, remedy] of refusals) {
    it(`refuses \`${line}\``, () => {
      const expected = { code: "ERR_CONFIG_INVALID", message, at: `callgate.yaml:${at}` } as const;
      refuses(
        () => parse(`version: 1\n${line}\n`),
        remedy === undefined ? expected : { ...expected, remedy },
      );
    });
  }

  const elsewhere = [
    "credentials",
    "secrets",
    "approvers",
    "approvals",
    "state",
    "stateDir",
    "key",
    "keys",
    "command",
    "commands",
    "hooks",
  ];
  for (const key of elsewhere) {
    it(`refuses \`${key}\`, and says where it belongs`, () => {
      const expected = {
        code: "ERR_CONFIG_INVALID",
        message: /a project cannot name/,
        at: "callgate.yaml:2:1",
        remedy: /XDG_CONFIG_HOME\/callgate/,
      } as const;
      refuses(() => parse(`version: 1\n${key}: {}\n`), expected);
    });
  }

  it("refuses commands under `sandbox` the same way", () => {
    for (const key of ["command", "driver"]) {
      const expected = {
        code: "ERR_CONFIG_INVALID",
        message: /a project cannot name a command/,
        at: "callgate.yaml:2:12",
      } as const;
      refuses(() => parse(`version: 1\nsandbox: { ${key}: x }\n`), expected);
    }
  });

  it("wants the version it knows", () => {
    refuses(() => parse("policies: policies\n"), {
      code: "ERR_CONFIG_INVALID",
      message: /`version` is missing/,
    });
    refuses(() => parse("version: 2\n"), {
      code: "ERR_CONFIG_INVALID",
      message: /`version` must be `1`/,
      at: "callgate.yaml:1:10",
    });
  });
});

describe("narrow", () => {
  it("keeps what is stricter than the defaults", () => {
    const asked = parse(
      "version: 1\nsandbox: { isolation: gvisor, hide: [.env], protect: [.git] }\nsession: { uses: 5, expires: 1m, depth: 0 }\n",
    );
    const { settings } = narrow(asked);
    assert.deepEqual(settings.sandbox, asked.sandbox);
    assert.deepEqual(settings.session, asked.session);
  });

  it("drops everything that widens or names, and says so", () => {
    const asked = parse(`
version: 1
environment: { name: production, protected: true }
catalog: [a.yaml]
policies: rules
sandbox: { root: "folder:root", docker: { socket: /d.sock } }
callers: { owner: { kind: Agent, id: root, claims: { admin: true } } }
session: { uses: 999999, expires: 24h, depth: 8 }
`);
    const { settings, ignored } = narrow(asked);
    assert.deepEqual(settings, { ...DEFAULT_SETTINGS, catalog: [] });
    assert.deepEqual(ignored.map(({ key }) => key).sort(), [
      "callers.owner",
      "catalog",
      "environment.name",
      "environment.protected",
      "policies",
      "sandbox.docker",
      "sandbox.root",
      "session.depth",
      "session.expires",
      "session.uses",
    ]);
    for (const { reason } of ignored) assert.match(reason, /callgate trust/);
  });
});
