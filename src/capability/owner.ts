import { randomBytes } from "node:crypto";
import { userInfo } from "node:os";
import type { Caller } from "../contract/call.ts";
import type { ToolName } from "../contract/ids.ts";
import type { SessionTerms } from "./session.ts";

/** How the project's or the user's configuration names whoever owns this process. */
export interface OwnerSettings {
  readonly kind: "User" | "Agent";
  readonly id?: string;
  readonly claims?: Readonly<Record<string, string | number | boolean>>;
}

export interface SessionLimits {
  readonly usesMax: number;
  readonly lifeMs: number;
  readonly depthMax: number;
  /** Unset: every catalogued tool. */
  readonly tools?: ReadonlySet<ToolName>;
}

/** The user of this process, proven by the kernel: whoever owns the process owns the state folder it opened. */
export function processOwner(settings: OwnerSettings = { kind: "User" }): Caller {
  const uid = process.getuid?.() ?? 0;
  return Object.freeze({
    kind: settings.kind,
    id: settings.id ?? accountName(uid),
    proof: "process-owner",
    claims: Object.freeze({ ...settings.claims, uid }),
  });
}

/** A capability for this process's life. */
export function openSession(caller: Caller, limits: SessionLimits, nowMs: number = Date.now()): SessionTerms {
  return Object.freeze({
    id: `session-${randomBytes(12).toString("hex")}`,
    caller,
    tools: limits.tools ?? "all",
    usesMax: limits.usesMax,
    expiresMs: nowMs + limits.lifeMs,
    depthMax: limits.depthMax,
  });
}

/** A container's bare uid has no account. */
function accountName(uid: number): string {
  try {
    return userInfo().username;
  } catch {
    return `uid-${uid}`;
  }
}
