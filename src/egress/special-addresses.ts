import { isIPv4, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";

/**
 * Which addresses are none of a public host's: the special-purpose registries of IANA (RFC 6890, as updated by RFC 8190
 * and the registries since), what RFC 4291 and RFC 5771 set apart, and where clouds keep their instances' secrets.
 */

/** One block, and whether a rule with `allowPrivate` may reach it. */
interface Block {
  readonly cidr: string;
  readonly name: string;
  readonly isPrivate: boolean;
  /** The IPv4 address to which a packet would go on, at the end of a tunnel or behind a translator. */
  readonly embedded?: (parts: readonly number[]) => string;
}

/** Two of an IPv6 address's eight parts as an IPv4 address. */
function dotted([high = 0, low = 0]: readonly number[]): string {
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}

const atEnd = (parts: readonly number[]): string => dotted(parts.slice(6));
/** RFC 3056 section 2. */
const of6to4 = (parts: readonly number[]): string => dotted(parts.slice(1));
/** RFC 4380 4: the client's, its bits flipped. */
const ofTeredo = (parts: readonly number[]): string => dotted(parts.slice(6).map((part) => part ^ 0xffff));

const never = (cidr: string, name: string, embedded?: Block["embedded"]): Block => ({
  ...{ cidr, name, isPrivate: false },
  ...(embedded === undefined ? {} : { embedded }),
});
const byRule = (cidr: string, name: string): Block => ({ cidr, name, isPrivate: true });

/** The first that fits decides, so what lies within another stands before it. */
export const SPECIAL_BLOCKS: readonly Block[] = [
  // What answers there hands out an instance's credentials; some of these addresses are not even special.
  never("169.254.169.254/32", "the metadata service of a cloud"),
  never("169.254.170.2/32", "the metadata service of a cloud (ECS)"),
  never("169.254.170.23/32", "the metadata service of a cloud (EKS)"),
  never("169.254.42.42/32", "the metadata service of a cloud (Scaleway)"),
  never("169.254.0.23/32", "the metadata service of a cloud (Tencent)"),
  never("192.0.0.192/32", "the metadata service of a cloud (Oracle)"),
  never("100.100.100.200/32", "the metadata service of a cloud (Alibaba)"),
  never("168.63.129.16/32", "the metadata service of a cloud (Azure's wire server)"),
  never("fd00:ec2::254/128", "the metadata service of a cloud (EC2)"),
  never("fd00:ec2::23/128", "the metadata service of a cloud (EKS)"),
  never("fd20:ce::254/128", "the metadata service of a cloud (Google)"),
  never("fd00:c1::a9fe:a9fe/128", "the metadata service of a cloud (Oracle)"),
  never("fd00:42::42/128", "the metadata service of a cloud (Scaleway)"),
  never("fd00:a9fe:a9fe::1/128", "the metadata service of a cloud (Akamai)"),
  never("fd00:100::100:200/128", "the metadata service of a cloud (Alibaba)"),
  never("fe80::a9fe:a9fe/128", "the metadata service of a cloud (OpenStack)"),

  // IANA IPv4 Special-Purpose Address Registry.
  never("0.0.0.0/32", "unspecified"),
  never("0.0.0.0/8", "this network"),
  byRule("10.0.0.0/8", "private"),
  byRule("100.64.0.0/10", "shared between carriers"),
  byRule("127.0.0.0/8", "loopback"),
  byRule("169.254.0.0/16", "link-local"),
  byRule("172.16.0.0/12", "private"),
  never("192.0.0.0/29", "IPv4 service continuity"),
  never("192.0.0.8/32", "the IPv4 dummy address"),
  never("192.0.0.9/32", "anycast of the Port Control Protocol"),
  never("192.0.0.10/32", "anycast of TURN"),
  never("192.0.0.170/31", "for the discovery of NAT64"),
  never("192.0.0.0/24", "for protocol assignments"),
  never("192.0.2.0/24", "for documentation"),
  never("192.31.196.0/24", "AS112"),
  never("192.52.193.0/24", "AMT"),
  never("192.88.99.2/32", "6a44 relay anycast"),
  never("192.88.99.0/24", "6to4 relay anycast"),
  byRule("192.168.0.0/16", "private"),
  never("192.175.48.0/24", "AS112"),
  never("198.18.0.0/15", "the block that stands for names inside of sandboxes"),
  never("198.51.100.0/24", "for documentation"),
  never("203.0.113.0/24", "for documentation"),
  never("224.0.0.0/4", "multicast"),
  never("255.255.255.255/32", "broadcast"),
  never("240.0.0.0/4", "reserved"),

  // IANA IPv6 Special-Purpose Address Registry.
  byRule("::1/128", "loopback"),
  never("::/128", "unspecified"),
  never("::ffff:0:0/96", "IPv4-mapped", atEnd),
  never("::/96", "IPv4-compatible", atEnd),
  never("::ffff:0:0:0/96", "IPv4-translated", atEnd),
  never("64:ff9b::/96", "NAT64", atEnd),
  never("64:ff9b:1::/48", "NAT64 for local use", atEnd),
  never("100::/64", "for discarding"),
  never("100:0:0:1::/64", "the IPv6 dummy prefix"),
  never("2001::/32", "Teredo", ofTeredo),
  never("2001:1::1/128", "anycast of the Port Control Protocol"),
  never("2001:1::2/128", "anycast of TURN"),
  never("2001:1::3/128", "anycast of DNS-SD registration"),
  never("2001:2::/48", "for benchmarking"),
  never("2001:3::/32", "AMT"),
  never("2001:4:112::/48", "AS112"),
  never("2001:10::/28", "ORCHID"),
  never("2001:20::/28", "ORCHIDv2"),
  never("2001:30::/28", "of drones' remote identification"),
  never("2001::/23", "for protocol assignments"),
  never("2001:db8::/32", "for documentation"),
  never("2002::/16", "6to4", of6to4),
  never("2620:4f:8000::/48", "AS112"),
  never("3fff::/20", "for documentation"),
  never("5f00::/16", "for segment routing"),
  byRule("fc00::/7", "unique local"),
  byRule("fe80::/10", "link-local"),
  never("fec0::/10", "site-local"),
  never("ff00::/8", "multicast"),
];

const PARSED_BLOCKS = SPECIAL_BLOCKS.map((block) => ({ ...block, range: ipaddr.parseCIDR(block.cidr) }));
const TRANSLATED = ipaddr.parseCIDR("64:ff9b::/96");
/** All that IANA gives out (RFC 4291 2.4, RFC 3587): the rest of IPv6 is nobody's. */
const GLOBAL_UNICAST = ipaddr.parseCIDR("2000::/3");
/** RFC 5214 6.1: an interface identifier that ends in an IPv4 address, below whatever prefix. */
const ISATAP_IDENTIFIERS: readonly number[] = [0x0000_5efe, 0x0200_5efe];

/** Why the address is none of a public host's, or undefined where it may be one. */
export function whyNotPublic(address: string): string | undefined {
  return judge(address)?.words;
}

/** Whether a rule may lead to the address. `whyNotPublic` says why it may not. */
export function mayReach(address: string, allowPrivate: boolean): boolean {
  const found = judge(address);
  return found === undefined || (allowPrivate && found.isPrivate);
}

/** The IPv4 address for which an IPv6 one stands to a translator (RFC 6052 2.1). */
export function translatedAddress(address: string): string | undefined {
  if (address.includes("%") || !isIPv6(address)) return undefined;
  const parsed = ipaddr.IPv6.parse(address.replace(/[\d.]+\.[\d.]+$/, toHex));
  return parsed.match(TRANSLATED) ? atEnd(parsed.parts) : undefined;
}

interface Found {
  readonly words: string;
  readonly isPrivate: boolean;
}

const isNever = (words: string): Found => ({ words, isPrivate: false });

function judge(address: string): Found | undefined {
  // Node's own forms are the canonical ones: no octal, no hexadecimal, no short forms, which readers read differently.
  if (isIPv4(address)) return judgeBlock(ipaddr.IPv4.parse(address));
  if (address.includes("%")) return isNever("an address with a zone");
  if (!isIPv6(address)) return isNever("not an address");
  const parsed = ipaddr.IPv6.parse(address.replace(/[\d.]+\.[\d.]+$/, toHex));
  if (isIsatap(parsed)) return isNever(`ISATAP, ${forInner(atEnd(parsed.parts))}`);
  const block = findBlock(parsed);
  if (block?.embedded !== undefined)
    return isNever(`${describe(block)}, ${forInner(block.embedded(parsed.parts))}`);
  if (block !== undefined) return judgeBlock(parsed);
  return parsed.match(GLOBAL_UNICAST) ? undefined : isNever("outside of 2000::/3");
}

/** The library reads `::a.b.c.d` as if it were `::ffff:a.b.c.d`, so it gets none with dots. */
function toHex(dots: string): string {
  return Buffer.from(ipaddr.IPv4.parse(dots).octets)
    .toString("hex")
    .replace(/^(....)/, "$1:");
}

function judgeBlock(parsed: ipaddr.IPv4 | ipaddr.IPv6): Found | undefined {
  const block = findBlock(parsed);
  return block && { words: describe(block), isPrivate: block.isPrivate };
}

function findBlock(parsed: ipaddr.IPv4 | ipaddr.IPv6): Block | undefined {
  return PARSED_BLOCKS.find(({ range }) => range[0].kind() === parsed.kind() && parsed.match(range));
}

function describe({ name, cidr }: Block): string {
  return `${name} (${cidr})`;
}

function forInner(inner: string): string {
  const why = judge(inner)?.words;
  return why === undefined ? `for ${inner}` : `for ${inner}, ${why}`;
}

function isIsatap({ parts }: ipaddr.IPv6): boolean {
  const [high = 0, low = 0] = parts.slice(4);
  return ISATAP_IDENTIFIERS.includes(high * 0x1_0000 + low);
}
