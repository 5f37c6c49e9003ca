import type { Caller } from "../contract/call.ts";

type ClaimType = "String" | "Long" | "Boolean";

/** The kinds of principal policy knows. */
export const PRINCIPALS: readonly Caller["kind"][] = ["Agent", "Job", "Service", "User"];

/**
 * Claims policy sees as typed attributes, by kind of principal, each optional. Every claim, these included,
 * is also a tag: `principal.hasTag("team") && principal.getTag("team") == "core"`, as text.
 */
export const CLAIMS: Readonly<Record<Caller["kind"], Readonly<Record<string, ClaimType>>>> = {
  User: { issuer: "String", subject: "String", email: "String", uid: "Long" },
  Agent: {
    issuer: "String",
    subject: "String",
    client: "String",
    session: "String",
    user: "String",
    uid: "Long",
  },
  Service: {
    issuer: "String",
    subject: "String",
    namespace: "String",
    service_account: "String",
    trust_domain: "String",
  },
  Job: {
    issuer: "String",
    subject: "String",
    repository: "String",
    repository_id: "String",
    repository_owner: "String",
    repository_owner_id: "String",
    ref: "String",
    ref_protected: "Boolean",
    event: "String",
    environment: "String",
    run_id: "String",
    run_attempt: "Long",
    workflow_ref: "String",
    runner: "String",
    /** Derived by the gate: false for a pull request or a fork, whatever else the token says. */
    trusted: "Boolean",
  },
};

/** Whether a claim has the type policy was told. */
export function claimFits(value: string | number | boolean, type: ClaimType): boolean {
  if (type === "Long") return Number.isSafeInteger(value);
  return typeof value === (type === "String" ? "string" : "boolean");
}
