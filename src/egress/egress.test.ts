import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { NetworkRule } from "../contract/network.ts";
import { AUTHORITY_MS_MAX, Egress } from "./egress.ts";
import { GUARD_PROGRAM } from "./guard.fixture.ts";
import { Authority } from "./http/authority.ts";
import { CERTIFICATE } from "./pass-through.fixture.ts";

const options = { skip: existsSync(GUARD_PROGRAM) ? false : "native/guard.c was not built" };
const PASSED: NetworkRule = { host: "a.test", ports: [443], protocol: "tls" };
const OPENED: NetworkRule = { ...PASSED, http: [{ methods: ["GET"], paths: ["/**"] }] };

interface Bench extends AsyncDisposable {
  readonly egress: Egress;
  /** Below one that is there, and not there itself. */
  readonly folder: string;
}

function openBench(authorities: readonly string[] = []): Bench {
  const parent = mkdtempSync(join(tmpdir(), "callgate-egress-"));
  const folder = join(parent, "own");
  const user = process.geteuid?.() === 0 ? { user: { uid: 65_533, gid: 65_533 } } : {};
  const resolver = { resolve: async () => ["127.0.0.1"] };
  const egress = new Egress({ guard: GUARD_PROGRAM, folder, resolver, authorities, ...user });
  return {
    egress,
    folder,
    async [Symbol.asyncDispose]() {
      await egress[Symbol.asyncDispose]();
      rmSync(parent, { recursive: true });
    },
  };
}

async function authoritiesOf({ egress }: Bench, rule: NetworkRule): Promise<string> {
  await using network = await egress.open({ mode: "names", allow: [rule] }, []);
  const { authorities } = network.joined;
  return authorities === undefined ? "" : readFileSync(authorities, "utf8");
}

test("tools trust what the system trusts, unless there is more to trust", options, async () => {
  await using plain = openBench();
  assert.equal(await authoritiesOf(plain, PASSED), "");
  assert.equal(existsSync(plain.folder), false);
  await using company = openBench([CERTIFICATE]);
  assert.ok((await authoritiesOf(company, PASSED)).includes(CERTIFICATE.trim()));
});

test("one authority opens for all sandboxes, until it is half its life old", options, async (t) => {
  await using bench = openBench();
  let laterMs = 0;
  const now = performance.now.bind(performance);
  t.mock.method(performance, "now", () => now() + laterMs);
  const first = await authoritiesOf(bench, OPENED);
  assert.notEqual(first, "");
  laterMs = AUTHORITY_MS_MAX - 60_000;
  assert.equal(await authoritiesOf(bench, OPENED), first);
  laterMs = AUTHORITY_MS_MAX + 60_000;
  assert.notEqual(await authoritiesOf(bench, OPENED), first);
});

test("an authority that could not be made is made the next time", options, async (t) => {
  await using bench = openBench();
  const refuses = t.mock.method(Authority, "create", () => Promise.reject(new Error("no entropy")));
  await assert.rejects(authoritiesOf(bench, OPENED), /no entropy/);
  refuses.mock.restore();
  assert.notEqual(await authoritiesOf(bench, OPENED), "");
});

test("what could not be written once is written the next time", options, async () => {
  await using bench = openBench([CERTIFICATE]);
  writeFileSync(bench.folder, "in the way");
  await assert.rejects(authoritiesOf(bench, PASSED), { code: "EEXIST" });
  rmSync(bench.folder);
  assert.notEqual(await authoritiesOf(bench, PASSED), "");
});

test("its files are gone with it", options, async () => {
  await using bench = openBench([CERTIFICATE]);
  await authoritiesOf(bench, PASSED);
  assert.equal(existsSync(bench.folder), true);
  await bench.egress[Symbol.asyncDispose]();
  assert.equal(existsSync(bench.folder), false);
});

test("where the guard was not built, no sandbox has a network", async () => {
  const resolver = { resolve: async () => [] };
  await using egress = new Egress({
    ...{ guard: undefined, folder: "/nonexistent/folder", resolver, authorities: [] },
  });
  await assert.rejects(egress.open({ mode: "names", allow: [PASSED] }, []), {
    code: "ERR_CONTROL_UNAVAILABLE",
  });
});
