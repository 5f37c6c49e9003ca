import { z } from "zod";
import { type ParsedDocument, parseDocument, validate } from "../../config/document.ts";
import { formatPlace } from "../../contract/errors.ts";
import { parseDigest } from "../../contract/ids.ts";
import type { JsonObject } from "../../contract/json.ts";
import type { PolicyTest } from "../../intent/policy-test.ts";
import type { ArtifactFact } from "../../intent/request.ts";

/** A test and where it stands. */
export interface PlacedTest {
  readonly test: PolicyTest;
  readonly place: string;
}

const artifact: z.ZodType<ArtifactFact> = z.strictObject({
  digest: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .transform(parseDigest),
  signed: z.boolean().default(false),
  proven: z.boolean().default(false),
  pipeline: z.exactOptional(z.string()),
});

const caller: z.ZodType<PolicyTest["caller"]> = z.strictObject({
  kind: z.enum(["User", "Agent", "Job", "Service"]).default("User"),
  id: z.exactOptional(z.string().min(1)),
  proof: z.exactOptional(z.enum(["process-owner", "session", "oidc", "oauth"])),
  claims: z.exactOptional(z.record(z.string(), z.union([z.string(), z.int(), z.boolean()]))),
});

const context: z.ZodType<NonNullable<PolicyTest["context"]>> = z.strictObject({
  environment: z.exactOptional(
    z.strictObject({ name: z.string().min(1), protected: z.boolean().default(false) }),
  ),
  repository: z.exactOptional(z.string()),
  ref: z.exactOptional(z.string()),
  event: z.exactOptional(z.string()),
  depth: z.exactOptional(z.int().min(0)),
});

const test: z.ZodType<PolicyTest> = z.strictObject({
  name: z.string().min(1),
  tool: z.string(),
  // The document is JSON already; what it has to fit is the tool's own schema.
  input: z.exactOptional(z.record(z.string(), z.unknown()) as unknown as z.ZodType<JsonObject>),
  caller: caller.prefault({}),
  context: z.exactOptional(context),
  artifacts: z.exactOptional(z.array(artifact)),
  expect: z.enum(["permit", "ask", "forbid"]),
  policies: z.exactOptional(z.array(z.string())),
});

/** The schema of `policies/tests/*.yaml`: a list of tests. */
const policyTestsSchema: z.ZodType<readonly PolicyTest[]> = z.array(test);

/** @throws GateError `ERR_CONFIG_SYNTAX`, `ERR_CONFIG_INVALID` with the place. */
export function parsePolicyTests(text: string, file: string): readonly PlacedTest[] {
  const document: ParsedDocument = parseDocument(text, file);
  return validate(document, policyTestsSchema).map((parsed, index) => ({
    test: parsed,
    place: formatPlace(document.placeOf([index])),
  }));
}
