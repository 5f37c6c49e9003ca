import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { GateError } from "../contract/errors.ts";
import type { NetworkRule } from "../contract/network.ts";
import { RCODE, TYPE } from "./dns-message.ts";
import { encodeQuery, type QueryParts, readReply } from "./dns-query.fixture.ts";
import { INSIDE_BLOCK, RESOLVER_ADDRESS } from "./guard.ts";
import {
  answer,
  LISTENERS_MAX,
  NameTable,
  OBSERVED_PORTS,
  OBSERVED_RESERVE,
  REFUSED_NAMES_MAX,
  WILDCARD_RESERVE,
} from "./names.ts";

function rule(host: string, ports: readonly number[] = [443], more: Partial<NetworkRule> = {}): NetworkRule {
  return { host, ports, protocol: "tls", ...more };
}

function addressOf(table: NameTable, name: string): string {
  const looked = table.lookup(name);
  assert.ok("address" in looked, `${name}: ${"why" in looked ? looked.why : ""}`);
  return looked.address;
}

function whyRefused(table: NameTable, name: string): string {
  const looked = table.lookup(name);
  assert.equal(looked.verdict, "refused", name);
  const judged = table.judge(name);
  assert.deepEqual(judged, looked);
  return "why" in looked ? looked.why : "";
}

const isInvalid =
  (words: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof GateError);
    assert.equal(error.code, "ERR_CONFIG_INVALID");
    assert.ok(error.remedy);
    assert.match(error.message, words);
    return true;
  };

test("every host has an address of its own, from the one after the resolver's on, in the rules' order", () => {
  const rules = [rule("b.example"), rule("a.example", [443, 22]), rule("b.example", [5432])];
  const table = new NameTable(rules);
  assert.equal(addressOf(table, "b.example"), "198.18.0.2");
  assert.equal(addressOf(table, "a.example"), "198.18.0.3");
  assert.deepEqual(table.listeners(), [
    { address: "198.18.0.2", port: 443 },
    { address: "198.18.0.2", port: 5432 },
    { address: "198.18.0.3", port: 443 },
    { address: "198.18.0.3", port: 22 },
  ]);
  assert.deepEqual(new NameTable(rules).listeners(), table.listeners());
});

test("an address and a port say which rule and which name", () => {
  const rules = [rule("a.example", [443]), rule("a.example", [22])];
  const table = new NameTable(rules);
  assert.deepEqual(table.ruleFor("198.18.0.2", 443), { rule: rules[0], name: "a.example" });
  assert.deepEqual(table.ruleFor("198.18.0.2", 22), { rule: rules[1], name: "a.example" });
  assert.equal(table.ruleFor("198.18.0.2", 80), undefined);
  assert.equal(table.ruleFor("198.18.0.3", 443), undefined);
});

test("a wildcard is one label or more, and not the name itself", () => {
  const table = new NameTable([rule("*.x.example")]);
  addressOf(table, "a.x.example");
  addressOf(table, "a.b.x.example");
  assert.equal(whyRefused(table, "x.example"), "no rule names it");
  assert.equal(whyRefused(table, "ax.example"), "no rule names it");
  assert.equal(whyRefused(table, ".x.example"), "no rule names it");
  assert.equal(whyRefused(table, "*.x.example.org"), "no rule names it");
});

test("a wildcard's names get addresses as they are asked for, for good, until there are none", () => {
  const table = new NameTable([rule("*.x.example", [443, 22]), rule("after.example")]);
  assert.equal(table.listeners().length, WILDCARD_RESERVE * 2 + 1);
  assert.equal(table.ruleFor("198.18.0.2", 443), undefined, "nobody asked yet");
  assert.deepEqual(table.judge("n0.x.example"), { verdict: "allowed" });
  assert.equal(table.ruleFor("198.18.0.2", 443), undefined, "judging gives none");
  const names = Array.from({ length: WILDCARD_RESERVE }, (_, index) => `n${index}.x.example`);
  const addresses = names.map((name) => addressOf(table, name));
  assert.equal(new Set(addresses).size, WILDCARD_RESERVE);
  assert.equal(whyRefused(table, "late.x.example"), "more than 16 names in one wildcard");
  assert.deepEqual(
    names.map((name) => addressOf(table, name)),
    addresses,
  );
  for (const [index, address] of addresses.entries())
    assert.equal(table.ruleFor(address, 22)?.name, `n${index}.x.example`);
  assert.equal(addressOf(table, "after.example"), "198.18.0.18");
});

test("the most specific host decides alone", () => {
  const rules = [rule("*.example.org", [1]), rule("*.a.example.org", [2]), rule("x.a.example.org", [3])];
  const table = new NameTable(rules);
  const portOf = (name: string): (number | undefined)[] =>
    [1, 2, 3].filter((port) => table.ruleFor(addressOf(table, name), port)?.name === name);
  assert.deepEqual(portOf("b.example.org"), [1]);
  assert.deepEqual(portOf("b.a.example.org"), [2]);
  assert.deepEqual(portOf("x.a.example.org"), [3]);
});

test("a dot at the end is no other name; a name without one inside is refused", () => {
  const table = new NameTable([rule("a.example"), rule("*.w.example"), rule("db", [5432])], "allow");
  assert.equal(addressOf(table, "a.example."), addressOf(table, "a.example"));
  assert.equal(addressOf(table, "n.w.example."), addressOf(table, "n.w.example"));
  assert.equal(whyRefused(table, "intranet"), "a name without a dot");
  assert.equal(whyRefused(table, "localhost"), "a name without a dot");
  assert.equal(whyRefused(table, ""), "a name without a dot");
  assert.equal(addressOf(table, "db"), "198.18.0.19", "unless a rule names it");
});

test("a literal is reached by itself, and has no name", () => {
  const literal = rule("192.168.7.7", [22, 5432], { allowPrivate: true });
  const loopback = rule("127.0.0.1", [6379], { allowPrivate: true });
  const table = new NameTable([literal, loopback, rule("a.example")], "allow");
  assert.deepEqual(table.literals, ["192.168.7.7"], "loopback is there");
  assert.ok(table.listeners().some(({ address, port }) => address === "192.168.7.7" && port === 22));
  assert.ok(table.listeners().some(({ address }) => address === "127.0.0.1"));
  assert.deepEqual(table.ruleFor("192.168.7.7", 5432), { rule: literal, name: "192.168.7.7" });
  assert.equal(whyRefused(table, "192.168.7.7"), "an address, not a name");
  assert.equal(whyRefused(table, "8.8.8.8"), "an address, not a name");
  assert.equal(addressOf(table, "a.example"), "198.18.0.2");
});

test("a literal that no rule may reach takes no listener", () => {
  for (const host of [
    "0.0.0.0",
    "198.18.0.1",
    "198.19.0.7",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
  ])
    assert.throws(() => new NameTable([rule(host, [80], { allowPrivate: true })]), isInvalid(/a rule names/));
});

test("two rules about one port of a host are a contradiction", () => {
  assert.throws(
    () => new NameTable([rule("a.example", [443], { http: [] }), rule("a.example", [22, 443])]),
    isInvalid(/two rules are about port 443 of `a\.example`/),
  );
});

test("listeners are bounded", () => {
  const ports = Array.from({ length: LISTENERS_MAX }, (_, index) => index + 1);
  assert.equal(new NameTable([rule("a.example", ports)]).listeners().length, LISTENERS_MAX);
  assert.throws(
    () => new NameTable([rule("a.example", ports), rule("b.example")]),
    isInvalid(/need 2049 listeners, and 2048 are the most/),
  );
});

test("a learning run answers every other name, on the ports tools ask for, and lets pass what it was told", () => {
  for (const observe of ["refuse", "allow"] as const) {
    const exact = rule("a.example");
    const table = new NameTable([exact], observe);
    assert.equal(table.lookup("a.example").verdict, "allowed");
    assert.equal(table.lookup("other.example").verdict, "observed");
    const address = addressOf(table, "other.example");
    assert.equal(table.listeners().length, 1 + OBSERVED_RESERVE * OBSERVED_PORTS.length);
    for (const port of OBSERVED_PORTS)
      assert.deepEqual(table.ruleFor(address, port), {
        rule: observe === "allow" ? { host: "other.example", ports: [port], protocol: "tcp" } : undefined,
        name: "other.example",
      });
    assert.equal(table.ruleFor(address, 4444), undefined);
    assert.deepEqual(table.ruleFor("198.18.0.2", 443), { rule: exact, name: "a.example" });
    assert.equal(table.ruleFor("198.18.0.2", 22), undefined, "a name of a rule is not observed");
    for (let index = 1; index < OBSERVED_RESERVE; index += 1) addressOf(table, `n${index}.example`);
    assert.equal(whyRefused(table, "late.example"), "more than 64 names in one learning run");
    assert.equal(addressOf(table, "other.example"), address);
  }
});

test("no address ever stands for two names, and all are inside of the block", () => {
  const label = fc.constantFrom("a", "b", "c", "d", "e", "f");
  const host = fc.array(label, { minLength: 2, maxLength: 4 }).map((labels) => labels.join("."));
  const written = fc.tuple(fc.boolean(), host).map(([isWild, name]) => (isWild ? `*.${name}` : name));
  const rules = fc.uniqueArray(written, { maxLength: 6 }).map((hosts) => hosts.map((each) => rule(each)));
  const block = ipaddr.parseCIDR(INSIDE_BLOCK);
  fc.assert(
    fc.property(rules, fc.array(host, { maxLength: 60 }), fc.boolean(), (allow, asked, observes) => {
      const table = new NameTable(allow, observes ? "refuse" : undefined);
      const nameOf = new Map<string, string>();
      for (const name of asked) {
        const looked = table.lookup(name);
        const isNamed = allow.some(
          ({ host }) => host === name || (host.startsWith("*.") && name.endsWith(host.slice(1))),
        );
        if (!("address" in looked)) {
          if (!observes) assert.ok(!isNamed || looked.why.startsWith("more than"));
          continue;
        }
        assert.equal(looked.verdict, isNamed ? "allowed" : "observed");
        assert.ok(ipaddr.parse(looked.address).match(block));
        assert.notEqual(looked.address, RESOLVER_ADDRESS);
        assert.equal(nameOf.get(looked.address) ?? name, name);
        nameOf.set(looked.address, name);
        assert.equal(table.ruleFor(looked.address, 443)?.name, name);
      }
    }),
  );
});

/** Asks as a tool would, and keeps what was told. */
function asking(table: NameTable): {
  ask: (parts: QueryParts) => { readonly rcode: number; readonly answers: readonly string[] };
  told: string[];
} {
  const told: string[] = [];
  const ask = (parts: QueryParts): { rcode: number; answers: string[] } => {
    const reply = answer(encodeQuery(parts), table, {
      onRefused: (name, why) => void told.push(`${name}: ${why}`),
    });
    assert.ok(reply);
    const { rcode, answers } = readReply(reply);
    return { rcode, answers: answers.map(({ data }) => data) };
  };
  return { ask, told };
}

const NODATA = { rcode: RCODE.NOERROR, answers: [] };
const NXDOMAIN = { rcode: RCODE.NXDOMAIN, answers: [] };
const REFUSED = { rcode: RCODE.REFUSED, answers: [] };

test("an allowed name has an address, and nothing of any other type", () => {
  const { ask, told } = asking(new NameTable([rule("a.example")]));
  assert.deepEqual(ask({ name: "A.Example", type: TYPE.A }), { rcode: RCODE.NOERROR, answers: ["c6120002"] });
  for (const type of [TYPE.AAAA, 5, 15, 16, 33, 64, 65, 255])
    assert.deepEqual(ask({ name: "a.example", type }), NODATA);
  for (const type of [TYPE.AXFR, TYPE.IXFR]) assert.deepEqual(ask({ name: "a.example", type }), REFUSED);
  for (const other of [3, 4, 254, 255]) assert.deepEqual(ask({ name: "a.example", class: other }), REFUSED);
  assert.deepEqual(told, []);
});

test("a refused name does not exist for any type, and is told of once", () => {
  const { ask, told } = asking(new NameTable([rule("a.example")]));
  for (const type of [TYPE.A, TYPE.AAAA, TYPE.A, 16, 65, 255, TYPE.AXFR])
    assert.deepEqual(ask({ name: "secret.Evil.example", type }), NXDOMAIN);
  assert.deepEqual(ask({ name: "version.bind", type: 16, class: 3 }), REFUSED);
  assert.deepEqual(ask({ name: "intranet" }), NXDOMAIN);
  assert.deepEqual(ask({ labels: ["a.example"] }), NXDOMAIN, "a dot inside of a label");
  assert.deepEqual(ask({ labels: ["a", "exam\x1bple"] }), NXDOMAIN);
  assert.deepEqual(told, [
    "secret.evil.example: no rule names it",
    "version.bind: no rule names it",
    "intranet: a name without a dot",
    "a\\046example: not the name of a host",
    "a.exam\\027ple: not the name of a host",
  ]);
});

test("only questions for an address use a wildcard's reserve up", () => {
  const table = new NameTable([rule("*.x.example")]);
  const { ask, told } = asking(table);
  for (let index = 0; index < WILDCARD_RESERVE * 2; index += 1)
    assert.deepEqual(ask({ name: `t${index}.x.example`, type: TYPE.AAAA }), NODATA);
  assert.deepEqual(ask({ name: "c.x.example", class: 3 }), REFUSED);
  for (let index = 0; index < WILDCARD_RESERVE; index += 1)
    assert.equal(ask({ name: `n${index}.x.example` }).answers.length, 1);
  assert.deepEqual(ask({ name: "late.x.example" }), NXDOMAIN);
  assert.deepEqual(ask({ name: "late.x.example", type: TYPE.AAAA }), NXDOMAIN);
  assert.deepEqual(told, ["late.x.example: more than 16 names in one wildcard"]);
});

test("names that are told of are bounded, and the last one says so", () => {
  const { ask, told } = asking(new NameTable([]));
  for (let index = 0; index < REFUSED_NAMES_MAX + 50; index += 1)
    assert.deepEqual(ask({ name: `n${index}.example` }), NXDOMAIN);
  assert.deepEqual(ask({ name: "n0.example" }), NXDOMAIN);
  assert.equal(told.length, REFUSED_NAMES_MAX + 1);
  assert.equal(told.at(-2), "n999.example: no rule names it");
  assert.equal(told.at(-1), "n1000.example: more than 1000 names were refused, and no others are recorded");
});

test("a learning run that lets none pass tells of the names it answers", () => {
  const refusing = asking(new NameTable([rule("a.example")], "refuse"));
  for (const name of ["a.example", "b.example", "b.example"])
    assert.equal(refusing.ask({ name }).answers.length, 1);
  assert.deepEqual(refusing.told, ["b.example: no rule names it"]);
  const allowing = asking(new NameTable([], "allow"));
  assert.equal(allowing.ask({ name: "b.example" }).answers.length, 1);
  assert.deepEqual(allowing.told, []);
});

test("what is no query is answered as such, or not at all", () => {
  const table = new NameTable([rule("a.example")]);
  const none = { onRefused: (): never => assert.fail() };
  assert.equal(answer(Buffer.of(1), table, none), undefined);
  assert.equal(answer(encodeQuery({ name: "a.example", flags: 0x8180 }), table, none), undefined);
  const reply = answer(Buffer.of(1, 2, 1, 0), table, none);
  assert.ok(reply);
  assert.equal(readReply(reply).rcode, RCODE.FORMERR);
  assert.equal(readReply(reply).id, 0x0102);
});

test("a name that a rule writes out is told of when its address is asked for, and no other name", () => {
  const table = new NameTable([
    { host: "a.example", ports: [443], protocol: "tls" },
    { host: "*.b.example", ports: [443], protocol: "tls" },
  ]);
  const allowed: string[] = [];
  const ask = (name: string, type?: number): void =>
    void answer(encodeQuery({ name, ...(type === undefined ? {} : { type }) }), table, {
      onRefused: () => {},
      onAllowed: (one) => void allowed.push(one),
    });
  ask("a.example", 28);
  ask("secret.b.example");
  ask("c.example");
  assert.deepEqual(allowed, []);
  ask("a.example");
  assert.deepEqual(allowed, ["a.example"]);
});
