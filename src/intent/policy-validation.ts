import type { ValidationError } from "@cedar-policy/cedar-wasm/nodejs";
import { GateError } from "../contract/errors.ts";
import { isJsonObject } from "../contract/json.ts";
import type { Tool } from "../contract/tool.ts";
import type { Cedar } from "./cedar.ts";
import { cedarSchema } from "./cedar-schema.ts";
import { pointerTo } from "./input.ts";
import { type Policy, type PolicySource, type PolicyWarning, placeIn, policyError } from "./policy.ts";

type Sources = ReadonlyMap<string, PolicySource>;

/**
 * Validates all policies in Cedar's strict mode: every field a policy names exists, has the type it is
 * compared with, and is tested for where it is optional, so that evaluation cannot fail.
 * @returns errors, `ERR_POLICY_INVALID` with the place and the nearest name, and warnings, each in file order.
 */
export function validatePolicies(
  cedar: Cedar,
  tools: readonly Tool[],
  policies: ReadonlyMap<string, Policy>,
  sources: Sources,
): { readonly errors: readonly GateError[]; readonly warnings: readonly PolicyWarning[] } {
  if (policies.size === 0) return { errors: [], warnings: [] };
  const staticPolicies = Object.fromEntries([...policies].map(([id, policy]) => [id, policy.text]));
  const answer = cedar.validate({
    schema: cedarSchema(tools),
    policies: { staticPolicies },
    validationSettings: { mode: "strict" },
  });
  if (answer.type === "failure") {
    const internal = answer.errors.map((error) => error.message).join("; ");
    throw new GateError("ERR_INTERNAL", "policies could not be validated", { internal });
  }
  const errors = oncePerPlace(inFileOrder(answer.validationErrors, policies)).map((error) =>
    explainError(error, tools, sources),
  );
  const warnings = inFileOrder(answer.validationWarnings, policies).map((warning) => ({
    policy: warning.policyId,
    place: placeOf(warning, sources),
    message: wordsOf(warning),
  }));
  return { errors, warnings };
}

/** Cedar's come in no order. */
function inFileOrder(errors: ValidationError[], policies: ReadonlyMap<string, Policy>): ValidationError[] {
  const order = new Map([...policies.keys()].map((id, index) => [id, index]));
  return errors.toSorted(
    (a, b) => (order.get(a.policyId) ?? 0) - (order.get(b.policyId) ?? 0) || startOf(a) - startOf(b),
  );
}

/** Cedar tells one slip again for every action that the policy can match. */
function oncePerPlace(errors: readonly ValidationError[]): readonly ValidationError[] {
  const same = (a: ValidationError, b: ValidationError): boolean =>
    a.policyId === b.policyId && startOf(a) === startOf(b);
  return errors.filter((error, at) => errors.findIndex((other) => same(error, other)) === at);
}

function startOf(error: ValidationError): number {
  return error.error.sourceLocations?.[0]?.start ?? 0;
}

function placeOf(error: ValidationError, sources: Sources): ReturnType<typeof placeIn> {
  const source = sources.get(error.policyId);
  if (source === undefined) throw new GateError("ERR_INTERNAL", "a policy lost its source");
  return placeIn(source, startOf(error));
}

function wordsOf({ policyId, error }: ValidationError): string {
  return `policy \`${policyId}\`: ${error.message.replace(/^for policy `[^`]*`, /, "")}`;
}

function explainError(error: ValidationError, tools: readonly Tool[], sources: Sources): GateError {
  const help = error.error.help?.replace(/^for policy `[^`]*`, /, "");
  const remedy = hiddenField(error.error.message, tools) ?? help;
  return policyError("ERR_POLICY_INVALID", wordsOf(error), placeOf(error, sources), remedy);
}

/** A field the tool has and Cedar cannot hold is no misspelling. */
function hiddenField(message: string, tools: readonly Tool[]): string | undefined {
  const [, field = "", action] =
    /attribute `input\.(\w+)` in context for Action::"([^"]+)" not found/.exec(message) ?? [];
  const properties = tools.find((tool) => tool.name === action)?.input["properties"];
  if (!isJsonObject(properties) || !Object.hasOwn(properties, field)) return undefined;
  const pointer = pointerTo("", field);
  return `policy cannot hold \`${field}\` (a float, a mixed or an open value): test \`context.opaque.contains("${pointer}")\` or its digest in \`context.digests\``;
}
