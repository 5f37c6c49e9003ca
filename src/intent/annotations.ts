import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { GateError, Place } from "../contract/errors.ts";
import { didYouMean } from "../contract/nearest.ts";
import { ISOLATION_CLASSES, type IsolationClass } from "../contract/tier.ts";
import { policyError } from "./policy.ts";

/** More people than this nobody finds. */
const APPROVALS_MAX = 10;

/** What a policy asks for beyond the tier's minimum. Nothing here can loosen anything. */
export interface Annotations {
  readonly reason?: string;
  readonly approvals: number;
  readonly isolation?: IsolationClass;
  readonly confirmation: boolean;
}

const NAMES = ["id", "reason", "require_approvals", "require_isolation", "require_confirmation"];
const POLICY_ID = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;

/**
 * Reads a policy's annotations. Cedar ignores what it does not know; an obligation with a misspelt name
 * would silently not hold, so every one is checked.
 * @throws GateError `ERR_POLICY_INVALID` with the place.
 */
export function readAnnotations(json: PolicyJson, place: Place): { id: string; annotations: Annotations } {
  // Cedar gives null for an annotation without a value.
  const given = new Map(Object.entries(json.annotations ?? {}).map(([name, value]) => [name, value ?? ""]));
  const id = given.get("id");
  if (id === undefined) throw refuse(place, "a policy has no `@id`", 'write `@id("some-name")` before it');
  if (!POLICY_ID.test(id))
    throw refuse(place, `\`@id(${JSON.stringify(id)})\` is not an id`, "letters, digits and `._/-`");
  for (const name of given.keys()) {
    if (!NAMES.includes(name))
      throw refuse(place, `policy \`${id}\`: unknown annotation \`@${name}\``, didYouMean(name, NAMES));
    // An obligation on a forbid would look as if it allowed something.
    if (name.startsWith("require_") && json.effect === "forbid") {
      throw refuse(place, `policy \`${id}\`: \`@${name}\` has no meaning on a forbid`);
    }
  }
  const reason = given.get("reason");
  const isolation = isolationOf(given.get("require_isolation"), id, place);
  return {
    id,
    annotations: {
      ...(reason === undefined ? {} : { reason: reasonOf(reason, id, place) }),
      ...(isolation === undefined ? {} : { isolation }),
      approvals: approvalsOf(given.get("require_approvals"), id, place),
      confirmation: confirmationOf(given.get("require_confirmation"), id, place),
    },
  };
}

function reasonOf(text: string, id: string, place: Place): string {
  if (text.trim() !== "" && !/[\u0000-\u001f\u007f-\u009f]/.test(text)) return text;
  throw refuse(place, `policy \`${id}\`: \`@reason\` must be one line of text`);
}

function approvalsOf(text: string | undefined, id: string, place: Place): number {
  if (text === undefined) return 0;
  if (/^[1-9][0-9]?$/.test(text) && Number(text) <= APPROVALS_MAX) return Number(text);
  throw refuse(place, `policy \`${id}\`: \`@require_approvals\` must be "1" to "${APPROVALS_MAX}"`);
}

function isolationOf(text: string | undefined, id: string, place: Place): IsolationClass | undefined {
  const found = ISOLATION_CLASSES.find((one) => one === text);
  if (text === undefined || found !== undefined) return found;
  const message = `policy \`${id}\`: \`@require_isolation\` must be one of ${ISOLATION_CLASSES.join(", ")}`;
  throw refuse(place, message, didYouMean(text, ISOLATION_CLASSES));
}

function confirmationOf(text: string | undefined, id: string, place: Place): boolean {
  if (text === undefined) return false;
  if (text === "" || text === "true") return true;
  throw refuse(place, `policy \`${id}\`: \`@require_confirmation\` takes no value`);
}

function refuse(place: Place, message: string, remedy?: string): GateError {
  return policyError("ERR_POLICY_INVALID", message, place, remedy);
}
