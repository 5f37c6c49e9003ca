import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import { mayReach, SPECIAL_BLOCKS, translatedAddress, whyNotPublic } from "./special-addresses.ts";

/** As the two registries of IANA list them, and what RFC 4291 and RFC 5771 set apart beside them. */
const REGISTERED = [
  ...[
    "0.0.0.0/8",
    "0.0.0.0/32",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
  ],
  ...["192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32"],
  ...[
    "192.0.0.171/32",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.88.99.2/32",
  ],
  ...[
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
  ],
  ...["255.255.255.255/32", "224.0.0.0/4"],
  ...["::1/128", "::/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64"],
  ...[
    "2001::/23",
    "2001::/32",
    "2001:1::1/128",
    "2001:1::2/128",
    "2001:1::3/128",
    "2001:2::/48",
    "2001:3::/32",
  ],
  ...["2001:4:112::/48", "2001:10::/28", "2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16"],
  ...["2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10"],
  ...["ff00::/8", "fec0::/10", "::/96"],
];
const METADATA = [
  ...[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "169.254.42.42",
    "169.254.0.23",
  ],
  ...["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"],
  ...["fd00:a9fe:a9fe::1", "fd00:100::100:200", "fe80::a9fe:a9fe"],
];
const PUBLIC = [
  "1.1.1.1",
  "8.8.8.8",
  "93.184.215.14",
  "2606:4700::1111",
  "2a00:1450:4001::1",
  "2001:4860::8888",
];

interface Range {
  readonly bits: number;
  readonly first: bigint;
  readonly last: bigint;
}

const toNumber = (address: string): bigint =>
  BigInt(`0x${Buffer.from(ipaddr.parse(address).toByteArray()).toString("hex")}`);

function toText(number: bigint, bits: number): string {
  const bytes = Buffer.from(number.toString(16).padStart(bits / 4, "0"), "hex");
  return ipaddr.fromByteArray([...bytes]).toString();
}

function rangeOf(cidr: string): Range {
  const [address = "", length] = cidr.split("/");
  const bits = address.includes(":") ? 128 : 32;
  const size = 1n << BigInt(bits - Number(length));
  return { bits, first: toNumber(address), last: toNumber(address) + size - 1n };
}

/** Reckoned with numbers, from the lists of this file. */
const RANGES = [
  ...REGISTERED,
  ...METADATA.map((address) => `${address}/${address.includes(":") ? 128 : 32}`),
].map(rangeOf);
const GLOBAL = rangeOf("2000::/3");
const isSpecial = (number: bigint, bits: number): boolean =>
  (bits === 128 && (number < GLOBAL.first || number > GLOBAL.last)) ||
  RANGES.some((range) => range.bits === bits && range.first <= number && number <= range.last);

test("of every registered block the first and last address are special, and what is beside is judged by itself", () => {
  for (const cidr of [...REGISTERED, ...SPECIAL_BLOCKS.map((block) => block.cidr)]) {
    const { bits, first, last } = rangeOf(cidr);
    for (const number of [first, last]) {
      const text = toText(number, bits);
      assert.notEqual(whyNotPublic(text), undefined, `${text} of ${cidr}`);
      assert.equal(mayReach(text, false), false, text);
    }
    for (const number of [first - 1n, last + 1n]) {
      if (number < 0n || number >= 1n << BigInt(bits)) continue;
      const text = toText(number, bits);
      const listed = SPECIAL_BLOCKS.some((block) => {
        const range = rangeOf(block.cidr);
        return range.bits === bits && range.first <= number && number <= range.last;
      });
      assert.equal(whyNotPublic(text) !== undefined, listed || isSpecial(number, bits), `${text} by ${cidr}`);
    }
  }
});

test("every block that is listed decides for some address", () => {
  for (const { cidr, name } of SPECIAL_BLOCKS) {
    const { bits, first, last } = rangeOf(cidr);
    const words = [first, first + 4n, last].map((number) => whyNotPublic(toText(number, bits)) ?? "");
    assert.ok(
      words.some((word) => word.startsWith(`${name} (${cidr})`)),
      cidr,
    );
  }
});

test("addresses are special where the registries say so, and nowhere else", () => {
  const v4 = fc.nat(0xffff_ffff).map((number) => ({ number: BigInt(number), bits: 32 }));
  const v6 = fc.bigInt(GLOBAL.first, GLOBAL.last).map((number) => ({ number, bits: 128 }));
  const any6 = fc.bigInt(0n, (1n << 128n) - 1n).map((number) => ({ number, bits: 128 }));
  const inBlock = fc
    .constantFrom(...RANGES)
    .chain(({ bits, first, last }) => fc.bigInt(first, last).map((number) => ({ number, bits })));
  fc.assert(
    fc.property(fc.oneof(v4, v6, any6, inBlock), ({ number, bits }) => {
      const text = toText(number, bits);
      fc.pre(!/(^|:)(200:)?5efe:[0-9a-f]+:[0-9a-f]+$/.test(text));
      const listed = SPECIAL_BLOCKS.some(
        (block) => block.name.includes("metadata") && whyNotPublic(text)?.includes(block.cidr),
      );
      assert.equal(whyNotPublic(text) !== undefined, listed || isSpecial(number, bits), text);
      assert.equal(mayReach(text, false), whyNotPublic(text) === undefined);
      if (mayReach(text, false)) assert.ok(mayReach(text, true));
    }),
    { numRuns: 3_000 },
  );
});

test("public addresses are public", () => {
  for (const address of PUBLIC) assert.equal(whyNotPublic(address), undefined, address);
});

test("a rule may open what is private, and nothing else that is special", () => {
  const PRIVATE = [
    ...["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.9.9.9", "169.254.1.1"],
    ...["100.64.0.1", "100.127.255.255", "::1", "fc00::1", "fd12:3456::1", "fe80::1"],
  ];
  const NEVER = [
    ...["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "198.18.0.1"],
    ...[
      "198.19.255.255",
      "192.0.2.1",
      "::",
      "ff02::1",
      "2001:db8::1",
      "fec0::1",
      "4000::1",
      "100::1",
      ...METADATA,
    ],
    ...["::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2002:a00:1::1"],
    ...["2001::a00:1", "fe80::5efe:10.0.0.1", "fd00::200:5efe:10.0.0.1"],
  ];
  for (const address of PRIVATE) {
    assert.equal(mayReach(address, false), false, address);
    assert.equal(mayReach(address, true), true, address);
  }
  for (const address of NEVER) assert.equal(mayReach(address, true), false, address);
});

test("what stands for an IPv4 address to a translator is known, in every spelling", () => {
  for (const text of ["64:ff9b::c000:201", "64:ff9b::192.0.2.1", "0064:FF9B:0::c000:0201"])
    assert.equal(translatedAddress(text), "192.0.2.1", text);
  for (const text of ["64:ff9b:1::c000:201", "::ffff:192.0.2.1", "192.0.2.1", "64:ff9b::1%eth0", "nonsense"])
    assert.equal(translatedAddress(text), undefined, text);
});

test("metadata addresses are named as such", () => {
  for (const address of METADATA) assert.match(whyNotPublic(address) ?? "", /metadata/, address);
});

test("what embeds an IPv4 address is refused whatever that is, and the words say what that is", () => {
  const forms: Record<string, (dotted: string) => string> = {
    "IPv4-mapped": (dotted) => `::ffff:${dotted}`,
    "IPv4-compatible": (dotted) => `::${dotted}`,
    "IPv4-translated": (dotted) => `::ffff:0:${dotted}`,
    NAT64: (dotted) => `64:ff9b::${dotted}`,
    "NAT64 for local use": (dotted) => `64:ff9b:1::${dotted}`,
    "6to4": (dotted) => `2002:${hex(dotted)}::1`,
    Teredo: (dotted) => `2001:0:102:304:0:0:${hex(dotted, 0xff)}`,
    ISATAP: (dotted) => `2606:4700::5efe:${dotted}`,
    "ISATAP,": (dotted) => `2606:4700::200:5efe:${dotted}`,
  };
  for (const [name, form] of Object.entries(forms)) {
    const inside = whyNotPublic(form("169.254.169.254")) ?? "";
    assert.ok(inside.startsWith(name), inside);
    assert.match(inside, /for 169\.254\.169\.254, the metadata service of a cloud/, name);
    assert.match(whyNotPublic(form("10.0.0.1")) ?? "", /for 10\.0\.0\.1, private \(10\.0\.0\.0\/8\)$/, name);
    assert.match(whyNotPublic(form("8.8.8.8")) ?? "", /for 8\.8\.8\.8$/, name);
    assert.equal(mayReach(form("8.8.8.8"), true), false, name);
  }
});

function hex(dotted: string, mask = 0): string {
  return Buffer.from(dotted.split(".").map((part) => Number(part) ^ mask))
    .toString("hex")
    .replace(/^(....)/, "$1:");
}

test("what is no canonical address is not reached", () => {
  const WRONG = [
    ...[
      "",
      "example.com",
      "010.0.0.1",
      "0x7f.0.0.1",
      "0x7f000001",
      "2130706433",
      "127.1",
      "8.8.8",
      "8.8.8.8.",
      " 8.8.8.8",
    ],
    ...[
      "8.8.8.8/32",
      "256.8.8.8",
      "8.8.8.08",
      "[2606:4700::1]",
      "2606:4700::1/64",
      "::ffff:08.8.8.8",
      "2606:4700::1::",
    ],
    ...["８.8.8.8", "8.8.8.8\n"],
  ];
  for (const text of WRONG) {
    assert.equal(whyNotPublic(text), "not an address", JSON.stringify(text));
    assert.equal(mayReach(text, true), false);
  }
  for (const text of ["fe80::1%eth0", "2606:4700::1%1", "fe80::1%"]) {
    assert.equal(whyNotPublic(text), "an address with a zone", text);
    assert.equal(mayReach(text, true), false);
  }
});
