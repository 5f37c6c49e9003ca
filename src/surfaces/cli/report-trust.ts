import type { Project } from "../../config/project.ts";
import { line } from "./report.ts";
import type { Terminal } from "./terminal.ts";

/** Says that a project's configuration is not in force, and what of it is ignored. Nothing when it is trusted. */
export function reportTrust(terminal: Terminal, { trust, ignored, workspace }: Project): void {
  if (trust === undefined || trust.state === "trusted") return;
  const how = trust.state === "changed" ? "has changed since it was trusted" : "is not trusted";
  terminal.err(`${terminal.paint("yellow", "! inert")}  ${workspace.config} of this project ${how}\n`);
  for (const { key, reason } of ignored) line(terminal, key, reason);
  line(terminal, "fix", "read it, then run `callgate trust`");
}
