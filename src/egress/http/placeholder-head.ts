import { PlaceholderWatch } from "../placeholder-watch.ts";
import type { Visit } from "../visit.ts";
import type { Forward } from "./judge-request.ts";

/** Looks for placeholders of credentials that are not this host's, as they are and as a head encodes them. */
export function newWatch({ credentials, credential }: Visit): PlaceholderWatch {
  return new PlaceholderWatch(credentials.filter((one) => one !== credential));
}

/** @throws Refusal */
export function watchHead(visit: Visit, { target, headers }: Forward): void {
  const texts = [target, ...headers.flat()];
  const all = [...texts, ...texts.map(percentDecoded), ...headers.map(([, value]) => basicDecoded(value))];
  newWatch(visit).see(Buffer.from(all.join("\n"), "latin1"));
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, pair: string) =>
    String.fromCharCode(Number.parseInt(pair, 16)),
  );
}

/** RFC 7617 2. */
function basicDecoded(value: string): string {
  const [, word] = /^basic +(\S+)$/i.exec(value) ?? [];
  return word === undefined ? "" : Buffer.from(word, "base64").toString("latin1");
}
