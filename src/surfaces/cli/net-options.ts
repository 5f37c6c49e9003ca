import { withoutUser } from "../../catalog/network-host.ts";
import { checkRules } from "../../catalog/network-rule.ts";
import { parseNetText } from "../../catalog/network-text.ts";
import { GateError } from "../../contract/errors.ts";

/**
 * The values of `--net`, as they were given.
 * @throws GateError `ERR_USAGE` that says which of them is wrong.
 */
export function checkNetOptions(values: readonly string[] = []): readonly string[] {
  const rules = values.map((value) => {
    if (value.startsWith("-"))
      throw new GateError("ERR_USAGE", `\`--net\` needs a host, and \`${value}\` follows it`, {
        remedy: "write `--net HOST`, before the `--` of the command",
      });
    return named(`--net ${withoutUser(value)}`, () => parseNetText(value));
  });
  named("--net", () => checkRules(rules));
  return values;
}

function named<T>(option: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    const { code, message, remedy } = cause as GateError;
    throw new GateError(code, `\`${option}\`: ${message}`, {
      cause,
      ...(remedy === undefined ? {} : { remedy }),
    });
  }
}
