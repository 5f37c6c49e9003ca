import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Control } from "../contract/execution.ts";

/** The label that a security module keeps a process under, and whether it is acted upon. */
export interface ProcessLabel {
  readonly module: "AppArmor" | "SELinux";
  readonly label: string;
  /** False for AppArmor's `complain` and `unconfined`, and for a permissive SELinux: they only take note. */
  readonly enforced: boolean;
}

/**
 * Reads `/proc/PID/attr/current`, where AppArmor writes `name (mode)` and SELinux a context.
 * @returns undefined where no module labels processes.
 */
export function readLabel(pid: number | "self", root = "/"): ProcessLabel | undefined {
  const text = readFirst([
    // With several modules at once only its own file is sure to be AppArmor's (Linux 5.8).
    join(root, `proc/${pid}/attr/apparmor/current`),
    join(root, `proc/${pid}/attr/current`),
  ]);
  if (text === undefined || text === "") return undefined;
  if (text === "unconfined") return { module: "AppArmor", label: text, enforced: false };
  const [, label, mode] = /^(\S.*) \(([a-z]+)\)$/.exec(text) ?? [];
  if (label !== undefined)
    return { module: "AppArmor", label, enforced: mode === "enforce" || mode === "kill" };
  if (!/^[^:\s]+:[^:\s]+:[^:\s]+(?::\S+)?$/.test(text)) return undefined;
  const enforcing = readFirst([join(root, "sys/fs/selinux/enforce")]) === "1";
  return { module: "SELinux", label: text, enforced: enforcing && !/:unconfined_t(?::|$)/.test(text) };
}

/** The control `lsm` for a sandbox that was to run under a label: that very label, and enforced. */
export function labelControl(pid: number, asked: string, root = "/"): Control {
  const seen = readLabel(pid, root);
  const shown =
    seen === undefined
      ? "no security module labels processes here"
      : `${seen.module} label \`${seen.label}\`${seen.enforced ? ", enforced" : ", not enforced"}`;
  const holds = seen?.enforced === true && seen.label === asked;
  const lack = seen?.enforced === true && seen.label !== asked ? `; \`${asked}\` was asked for` : "";
  return { state: holds ? "enforced" : "unavailable", basis: "verified", evidence: `${shown}${lack}` };
}

function readFirst(paths: readonly string[]): string | undefined {
  for (const path of paths) {
    try {
      return readFileSync(path, "utf8").replace(/[\0\n]+$/, "");
    } catch {
      // the next one
    }
  }
  return undefined;
}
