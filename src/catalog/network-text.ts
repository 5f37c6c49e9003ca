import { isIPv4 } from "node:net";
import { GateError } from "../contract/errors.ts";
import { nearest } from "../contract/nearest.ts";
import type { NetworkProtocol, NetworkRule } from "../contract/network.ts";
import { checkNoUrl, isIPv6Text, parseHost } from "./network-host.ts";
import { completeRule, HTTP_PORT, isPort, TLS_PORTS, type WrittenRule } from "./network-rule.ts";

const PROTOCOLS = ["tls", "http", "tcp"] as const;
const CREDENTIAL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/**
 * One `--net`: `HOST[:PORT]`, and after commas `private` (its address may be a private one), `tls`, `http` or `tcp`, and
 * `credential=NAME`. Without a port it is 443; ports 443 and 8443 speak TLS, port 80 HTTP, all others anything. A
 * credential needs a connection that is opened, so beside one all others speak TLS.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function parseNetText(text: string): NetworkRule {
  const [place = "", ...words] = text.split(",");
  const { host, ...rest } = parsePlace(place);
  let written: WrittenRule = { host: parseHost(host), ...rest };
  for (const word of words) written = { ...written, ...parseWord(word, written, place) };
  checkWords(written, place);
  return completeRule({ protocol: protocolOf(written), ...written });
}

/**
 * A rule of a manifest that is only text: `HOST[:PORT]`. What follows a comma on the command line has keys here.
 * @throws GateError `ERR_USAGE` with the way out.
 */
export function parseShortRule(text: string): NetworkRule {
  const [place = "", ...words] = text.split(",");
  if (words.length === 0) return parseNetText(text);
  const { host, ports } = parsePlace(place);
  const keys = words.flatMap((word) => {
    if (word.trim() === "private") return ["allowPrivate: true"];
    if (isProtocol(word.trim())) return [`protocol: ${word.trim()}`];
    const credential = /^\s*credential=(\S+)$/.exec(word)?.[1];
    return credential === undefined ? [] : [`credential: ${credential}`];
  });
  const port = ports === undefined ? [] : [`ports: [${ports[0]}]`];
  throw refused(
    `\`${text}\` has words after a comma, which are for the command line`,
    `write them as keys: \`{ ${[`host: ${JSON.stringify(host)}`, ...port, ...keys].join(", ")} }\``,
  );
}

function parsePlace(place: string): WrittenRule {
  checkNoUrl(place);
  const [host = "", port, ...more] = place.split(":");
  if (host === "") throw refused("no host is named", "write `HOST` or `HOST:PORT`");
  if (port === undefined) return { host };
  if (more.length > 0)
    throw isIPv6Text(place)
      ? refused(`\`${place}\` is an IPv6 address, which a rule cannot name`, "write the host's name")
      : refused(
          `\`${place}\` has more than one port`,
          `write \`${host}:${port}\`, and another rule for each further port`,
        );
  if (/^\d+-\d+$/.test(port))
    throw refused(
      `\`${port}\` is a range, and a port is one number`,
      "write one port from 1 to 65535, and another rule for each further one",
    );
  if (!/^\d{1,5}$/.test(port) || !isPort(Number(port)))
    throw refused(`\`${port}\` is not a port`, `write \`${host}:PORT\`, with a number from 1 to 65535`);
  return { host, ports: [Number(port)] };
}

function parseWord(
  word: string,
  { host, protocol, credential, allowPrivate }: WrittenRule,
  place: string,
): Partial<WrittenRule> {
  if (word === "private") {
    if (allowPrivate === true) throw saidTwice(word);
    return { allowPrivate: true };
  }
  if (isProtocol(word)) {
    if (protocol === word) throw saidTwice(word);
    if (protocol !== undefined)
      throw refused(`\`${protocol}\` and \`${word}\` contradict each other`, "write one of them");
    return { protocol: word };
  }
  if (/^credential(?:=|$)/.test(word)) {
    if (credential !== undefined)
      throw refused("a rule has one credential, and two are named", "leave one out");
    return { credential: credentialName(word.slice("credential=".length)) };
  }
  if (/^\d+$/.test(word))
    throw refused(`\`${word}\` is a second port of \`${place}\``, `write a second \`--net ${host}:${word}\``);
  throw refused(
    `\`${word}\` says nothing about a host`,
    meantBy(word) ?? "known are private, tls, http, tcp, credential=NAME",
  );
}

function credentialName(name: string): string {
  if (name === "")
    throw refused(
      "`credential=` names no credential",
      "write `credential=NAME`, with a name of your credentials.yaml",
    );
  if (!CREDENTIAL_NAME.test(name))
    throw refused(
      `\`${name}\` cannot be a credential's name`,
      "write the name as your credentials.yaml has it: small letters, digits, `.`, `_`, `-`",
    );
  return name;
}

function meantBy(word: string): string | undefined {
  // `http` is near to it, and would send in clear.
  if (word.trim() === "https") return "did you mean `tls`?";
  const [key = "", ...value] = word.trim().split("=");
  const meant = nearest(key, value.length === 0 ? ["private", ...PROTOCOLS] : ["credential"]);
  return meant && `did you mean \`${[meant, ...value].join("=")}\`?`;
}

/** What `completeRule` refuses too, in a manifest's words. */
function checkWords(written: WrittenRule, place: string): void {
  const { ports, protocol, credential, host } = written;
  if (protocol === "tcp" && ports === undefined)
    throw refused(`a \`tcp\` rule for \`${host}\` has to name its port`, `write \`${host}:PORT,tcp\``);
  if (protocol === "tcp" && credential !== undefined)
    throw refused(
      `\`tcp\` for \`${place}\` is passed through as it is, so it takes no credential`,
      "write `tls` instead of `tcp`, or leave out `credential=`",
    );
  if ((protocol ?? protocolOf(written)) === "tls" && isIPv4(host))
    throw refused(
      `\`${host}\` is an address, and a ClientHello names none (RFC 6066)`,
      `write its name, or \`${host}:${ports?.[0] ?? "PORT"},tcp\``,
    );
}

function protocolOf({ ports, credential }: WrittenRule): NetworkProtocol {
  if (ports === undefined || ports.every((port) => TLS_PORTS.includes(port))) return "tls";
  if (ports.every((port) => port === HTTP_PORT)) return "http";
  return credential === undefined ? "tcp" : "tls";
}

function isProtocol(word: string): word is NetworkProtocol {
  return (PROTOCOLS as readonly string[]).includes(word);
}

function saidTwice(word: string): GateError {
  return refused(`\`${word}\` is said twice`, "leave one out");
}

function refused(message: string, remedy: string): GateError {
  return new GateError("ERR_USAGE", message, { remedy });
}
