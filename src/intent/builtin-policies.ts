import type { Tool } from "../contract/tool.ts";
import type { PolicyFile } from "./policy.ts";

const BUILTIN_FILE = "builtin.cedar";

const LOCAL_TOOLS = `@id("builtin-local-tools")
@reason("low and medium tools are open to this machine's user and agents, outside protected environments")
permit (
  principal,
  action in [Action::"tier/low", Action::"tier/medium"],
  resource
)
when { principal is User || principal is Agent }
when { principal.proof == "process-owner" || principal.proof == "session" }
when { !resource.protected }
unless { action == Action::"callgate.exec" };
`;

const LOCAL_EXEC = `@id("builtin-local-exec")
@reason("the owner of this process may run commands in the sandbox, outside protected environments")
permit (
  principal,
  action == Action::"callgate.exec",
  resource
)
when { principal is User || principal is Agent }
when { principal.proof == "process-owner" }
when { !resource.protected };
`;

/**
 * The policies of a project that has none. They name `callgate.exec` only where the catalogue has it, since
 * a policy may not name a tool that does not exist.
 */
export function builtinPolicies(tools: readonly Tool[]): PolicyFile[] {
  const hasExec = tools.some((tool) => tool.name === "callgate.exec");
  const text = hasExec ? `${LOCAL_TOOLS}\n${LOCAL_EXEC}` : LOCAL_TOOLS.replace(/\nunless \{[^}]*\};/, ";");
  return [{ file: BUILTIN_FILE, text }];
}

/** The project's policies, or the built-in ones where it has no policy file at all. */
export function effectivePolicies(
  tools: readonly Tool[],
  policies: readonly PolicyFile[],
): readonly PolicyFile[] {
  return policies.length > 0 ? policies : builtinPolicies(tools);
}
