import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { inspect } from "node:util";
import { GateError } from "./contract/errors.ts";
import { parseToolName } from "./contract/ids.ts";
import type { NetworkRule } from "./contract/network.ts";
import { CredentialStore, type CredentialUse } from "./credential-store.ts";

const SECRET = "s3cret-of-the-gate";

/** A store on a file that is removed after the test. */
function storeOf(t: TestContext, ...credentials: readonly string[]): CredentialStore {
  const folder = mkdtempSync(join(tmpdir(), "callgate-store-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "secret"), `${SECRET}\n`, { mode: 0o600 });
  const path = join(folder, "credentials.yaml");
  const lines = credentials.map((line) => `  ${line.replace("SECRET", join(folder, "secret"))}\n`);
  writeFileSync(path, `version: 1\ncredentials:\n${lines.join("")}`);
  chmodSync(path, 0o600);
  return CredentialStore.at(join(folder, "missing.yaml"), path);
}

const READ =
  'github-read: { host: api.example.com, from: { file: SECRET }, kind: bearer, variable: TOKEN, shape: ghp_, tools: ["repo.*"], environments: [development] }';

function rule(given: Partial<NetworkRule> = {}): NetworkRule {
  return { host: "api.example.com", ports: [443], protocol: "tls", credential: "github-read", ...given };
}

function use(
  given: { name?: string; tier?: "low" | "medium"; environment?: string; variables?: string[] } = {},
): CredentialUse & { readonly told: string[] } {
  const { name = "repo.search", tier = "medium", environment = "development", variables = [] } = given;
  const told: string[] = [];
  return {
    tool: {
      name: parseToolName(name),
      tier,
      run: {
        command: ["true"],
        allowLeadingDash: false,
        environment: Object.fromEntries(variables.map((variable) => [variable, "x"])),
      },
    },
    environment,
    onSecret: (values) => told.push(...values),
    told,
  };
}

async function refused(
  store: CredentialStore,
  rules: readonly NetworkRule[],
  asked: CredentialUse,
  words: RegExp,
  remedy: RegExp,
): Promise<void> {
  await assert.rejects(store.credentialsFor(rules, asked), (error) => {
    assert.ok(error instanceof GateError, String(error));
    assert.deepEqual([error.code, error.exitCode], ["ERR_CREDENTIAL", 77]);
    assert.match(error.message, words);
    assert.match(error.remedy ?? "", remedy);
    return true;
  });
}

describe("CredentialStore", () => {
  it("is not kept from one credential by a fault in another", async (t) => {
    const store = storeOf(t, READ, "broken: { host: api.example.com }");
    assert.equal((await store.credentialsFor([rule()], use())).length, 1);
    await assert.rejects(store.credentialsFor([rule({ credential: "broken" })], use()), {
      code: "ERR_CONFIG_INVALID",
    });
  });

  it("reads nothing where no rule names a credential", async () => {
    const { credential: _none, ...bare } = rule();
    const store = CredentialStore.at("/dev/null");
    assert.deepEqual(await store.credentialsFor([bare], use({ tier: "low" })), []);
  });

  it("gives each credential once, new for each sandbox, and fetches its secret at its first use", async (t) => {
    const store = storeOf(t, READ);
    const asked = use();
    const [credential, ...others] = await store.credentialsFor([rule(), rule()], asked);
    assert.ok(credential !== undefined);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [credential.name, credential.host, credential.masksResponses],
      ["github-read", "api.example.com", true],
    );
    assert.match(credential.variables["TOKEN"] ?? "", /^ghp_[0-9a-f]{32}$/);
    assert.deepEqual(asked.told, []);
    const request = {
      method: "GET",
      target: "/",
      host: "api.example.com",
      headers: [] as [string, string][],
    };
    await credential.attach(request);
    assert.deepEqual(request.headers, [["authorization", `Bearer ${SECRET}`]]);
    assert.deepEqual(asked.told, [SECRET]);
    const [again] = await store.credentialsFor([rule()], asked);
    assert.notDeepEqual(again?.placeholders, credential.placeholders);
  });

  it("refuses what is not known, and names the nearest", async (t) => {
    const store = storeOf(t, READ);
    const [near, far] = [rule({ credential: "github-raed" }), rule({ credential: "other" })];
    await refused(store, [near], use(), /no credential is named `github-raed`/, /did you mean `github-read`/);
    await refused(store, [far], use(), /no credential is named `other`/, /`[^`]*\/credentials\.yaml`/);
    await refused(
      CredentialStore.at("/nowhere/c.yaml"),
      [far],
      use(),
      /no credential/,
      /`\/nowhere\/c\.yaml`/,
    );
  });

  it("refuses tools of a tier that has none", async (t) => {
    await refused(
      storeOf(t, READ),
      [rule()],
      use({ tier: "low" }),
      /tier `low`, which has no credentials/,
      /tier: medium/,
    );
  });

  it("refuses tools and environments that it is not for", async (t) => {
    const store = storeOf(t, READ);
    for (const name of ["repository.search", "repo.deep.search", "repo", "my.repo.search"])
      await refused(store, [rule()], use({ name }), new RegExp(`is not for \`${name}\``), /`tools`/);
    await refused(
      store,
      [rule()],
      use({ environment: "production" }),
      /environment `production`/,
      /`development`/,
    );
  });

  it("lets `*` alone be every tool, and within a name any run of characters but a dot", async (t) => {
    const store = storeOf(
      t,
      'all: { host: api.example.com, from: { file: SECRET }, kind: bearer, tools: ["*"] }',
      'some: { host: api.example.com, from: { file: SECRET }, kind: bearer, tools: ["x.y", "repo.*.re_*"] }',
    );
    const asks = (credential: string, name: string) =>
      store.credentialsFor([rule({ credential })], use({ name }));
    assert.equal((await asks("all", "a.b.c")).length, 1);
    assert.equal((await asks("some", "repo.any.re_ad")).length, 1);
    await assert.rejects(asks("some", "repo.any.at.re_ad"), GateError);
    await assert.rejects(asks("some", "xzy"), GateError);
  });

  it("refuses a rule for another host or port than the credential's", async (t) => {
    const store = storeOf(t, READ);
    for (const given of [{ host: "api.example.org" }, { host: "x.api.example.com" }, { ports: [443, 8443] }])
      await refused(
        store,
        [rule(given)],
        use(),
        /is for `api\.example\.com`, and the rule is for/,
        /another credential/,
      );
    // Of two rules with one credential, each is looked at.
    await refused(
      store,
      [rule(), rule({ host: "b.example" })],
      use(),
      /the rule is for `b\.example`/,
      /another/,
    );
    await refused(
      store,
      [rule({ host: "b.example" }), rule()],
      use(),
      /the rule is for `b\.example`/,
      /another/,
    );
    const ported = storeOf(
      t,
      'github-read: { host: "api.example.com:8443", from: { file: SECRET }, kind: bearer, tools: ["*"] }',
    );
    assert.equal((await ported.credentialsFor([rule({ ports: [8443] })], use())).length, 1);
    await refused(ported, [rule()], use(), /is for `api\.example\.com:8443`/, /another/);
  });

  it("refuses to send one without TLS unless it says so", async (t) => {
    const clear = rule({ protocol: "http", ports: [80] });
    await refused(storeOf(t, READ), [clear], use(), /without TLS/, /allowClear/);
    const allowed = storeOf(t, READ.replace("kind: bearer", "kind: bearer, allowClear: true"));
    assert.equal((await allowed.credentialsFor([clear], use())).length, 1);
  });

  it("refuses two that stand in one variable, and one that the manifest sets", async (t) => {
    const store = storeOf(
      t,
      READ,
      READ.replace("github-read", "other").replace("api.example.com", "b.example"),
    );
    const both = [rule(), rule({ credential: "other", host: "b.example" })];
    await refused(
      store,
      both,
      use(),
      /`TOKEN` would be set by credential `other` and by credential `github-read`/,
      /variable/,
    );
    await refused(store, [rule()], use({ variables: ["TOKEN"] }), /by the tool's manifest/, /variable/);
  });

  it("gives one whose source has failed by its first use: the request is refused, in the gate's words", async (t) => {
    const clear = "other-secret-value";
    const command = `{ command: [/bin/sh, -c, "echo ${clear}; exit 4", ${clear}] }`;
    const store = storeOf(t, READ.replace("{ file: SECRET }", command));
    const [credential] = await store.credentialsFor([rule()], use());
    assert.ok(credential !== undefined);
    const request = { method: "GET", target: "/", host: "api.example.com", headers: [] };
    await assert.rejects(credential.attach(request), (error) => {
      assert.ok(error instanceof Error);
      assert.equal(error.message, "credential `github-read` cannot be had: `/bin/sh` ended with code 4");
      const shown = [inspect(error, { depth: 20, showHidden: true }), JSON.stringify(error), error.stack];
      assert.ok(!shown.join("\n").includes(clear));
      return true;
    });
    assert.deepEqual(request.headers, []);
  });

  it("reads the file anew: what was taken back is gone", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "callgate-store-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, "credentials.yaml");
    const write = (text: string) =>
      writeFileSync(path, `version: 1\ncredentials: ${text}\n`, { mode: 0o600 });
    const store = CredentialStore.at(path);
    write(`{ ${READ.replace("SECRET", "/secret")} }`);
    assert.equal((await store.credentialsFor([rule()], use())).length, 1);
    write("{}");
    await refused(store, [rule()], use(), /no credential is named/, /say where it comes from/);
  });
});
