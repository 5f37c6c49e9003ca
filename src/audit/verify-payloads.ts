import { isJsonObject, type JsonObject } from "../contract/json.ts";
import type { StoredPayload } from "../store/store.ts";
import { verifyPayload } from "./receipt.ts";

type Say = (index: number, message: string) => void;

/** How many deleted payloads may wait for the entry that says so. */
const MISSING_MAX = 65_536;

/** Holds the kept payloads against the commitments, both read once, in order. */
export class PayloadCheck {
  readonly #payloads: IterableIterator<StoredPayload>;
  #next: StoredPayload | undefined;
  /** Commitments without salt that no `redacted` entry has explained yet, as `<index>/<name>`. */
  readonly #missing = new Set<string>();

  constructor(payloads: IterableIterator<StoredPayload>) {
    this.#payloads = payloads;
    this.#advance();
  }

  entry(index: number, entry: JsonObject, say: Say): void {
    const mentioned = new Set(isJsonObject(entry["payloads"]) ? Object.keys(entry["payloads"]) : []);
    for (; this.#next !== undefined && this.#next.index <= index; this.#advance()) {
      const payload = this.#next;
      mentioned.delete(payload.name);
      if (payload.index !== index) say(payload.index, `the payload \`${payload.name}\` is of no entry`);
      else if (!isOfEntry(payload, entry))
        say(index, `the payload \`${payload.name}\` is not the one committed to`);
    }
    for (const name of mentioned) if (this.#missing.size < MISSING_MAX) this.#missing.add(`${index}/${name}`);
    if (entry["kind"] === "redacted") this.#missing.delete(`${entry["entry"]}/${entry["payload"]}`);
  }

  end(say: Say): void {
    if (this.#next !== undefined) say(this.#next.index, `the payload \`${this.#next.name}\` is of no entry`);
    for (const missing of this.#missing) {
      const [index, name] = missing.split("/", 2);
      say(Number(index), `the payload \`${name}\` was deleted and no entry says so`);
    }
  }

  #advance(): void {
    const step = this.#payloads.next();
    this.#next = step.done ? undefined : step.value;
  }
}

/** A payload that was kept opens the commitment; of one that was not, the commitment is at least the same. */
function isOfEntry(payload: StoredPayload, entry: JsonObject): boolean {
  if (payload.bytes !== null) return verifyPayload(entry, payload.name, payload.salt, payload.bytes);
  const payloads = entry["payloads"];
  const mention = isJsonObject(payloads) ? payloads[payload.name] : undefined;
  const commitment = `sha256:${Buffer.from(payload.commitment).toString("hex")}`;
  return isJsonObject(mention) && mention["commitment"] === commitment;
}
