/** What is known of a call that did not end as it was meant to. */
interface Ended {
  readonly tool: string;
  readonly outcome: string;
  readonly code: string | undefined;
  readonly killedBy: string | undefined;
  /** Ids of the policies that decided. */
  readonly policies: readonly string[];
}

/** Of each limit: its key in a manifest, and the flag of `exec` where there is one. */
const LIMITS: Readonly<Record<string, readonly [key: string, flag?: string]>> = {
  wall: ["wall", "--time"],
  cpu: ["cpu"],
  memory: ["memory", "--memory"],
  processes: ["processes", "--processes"],
  output: ["output", "--output"],
  input: ["input"],
};

const DOCTOR = "`callgate doctor` shows what this host lacks";

/** What to do next, most likely first; the record holds no input, so what depends on it is left to `check`. */
export function remediesFor(ended: Ended): readonly string[] {
  const { tool, outcome, code, killedBy, policies } = ended;
  if (outcome === "killed") return [limitRemedy(tool, killedBy ?? "")];
  switch (code) {
    case undefined:
      return [];
    case "ERR_FORBIDDEN":
    case "ERR_POLICY_EVALUATION":
      return [
        policies.length > 0
          ? `change the call so that ${policies.map((id) => `\`${id}\``).join(" and ")} does not match`
          : `meet the conditions of a policy that is near, or add one that permits \`Action::"${tool}"\` for this caller`,
        `\`callgate check ${tool} --input …\` with the same input shows the nearest permit and what of it fails`,
      ];
    case "ERR_TOOL_UNKNOWN":
      return ["`callgate tools list` shows what there is; a project's tools are there once it is trusted"];
    case "ERR_CONTROL_UNAVAILABLE":
    case "ERR_DRIVER_UNAVAILABLE":
    case "ERR_SANDBOX_START":
      return [DOCTOR];
    case "ERR_COMMAND_START":
      return [
        "install the program under /usr, or grant the folder that holds it: `--read`, or `sandbox.files.read`",
      ];
    case "ERR_OBLIGATION_UNMET":
    case "ERR_APPROVAL_NEEDED":
      return ["this version cannot ask people; it runs calls of the low and medium tiers"];
    case "ERR_CAPABILITY":
    case "ERR_DEPTH":
      return ["call it again, from outside of other tools"];
    default:
      return code.startsWith("ERR_INPUT_") || code === "ERR_PATH_OUTSIDE"
        ? [`\`callgate tools show ${tool}\` prints what its input has to be`]
        : [];
  }
}

function limitRemedy(tool: string, killedBy: string): string {
  const limit = LIMITS[killedBy];
  if (limit === undefined) return "it was cancelled from outside; call it again";
  const [key, flag] = limit;
  if (tool !== "callgate.exec")
    return `raise \`sandbox.limits.${key}\` in the tool's manifest, then \`callgate trust\``;
  return flag === undefined
    ? `a catalogued tool can set \`sandbox.limits.${key}\``
    : `raise it with \`${flag}\``;
}
