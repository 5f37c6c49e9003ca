import type { CredentialSettings } from "./config/credentials.ts";
import { GateError } from "./contract/errors.ts";
import { didYouMean } from "./contract/nearest.ts";
import type { NetworkRule } from "./contract/network.ts";
import { TIER_MINIMUMS } from "./contract/tier.ts";
import type { Tool } from "./contract/tool.ts";
import { secretSource } from "./credential-source.ts";
import type { GateCredential } from "./egress/credentials/credential.ts";

/** For whom credentials are asked. */
export interface CredentialUse {
  readonly tool: Pick<Tool, "name" | "tier" | "run">;
  /** Name of the environment that the call acts in. */
  readonly environment: string;
  /** Told of every value to mask, before its first use. */
  readonly onSecret: (values: readonly string[]) => void;
}

/** Credentials as the gateway's owner wrote them down. Read anew for each sandbox: what was taken back is gone. */
export class CredentialStore {
  readonly #paths: readonly string[];

  private constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** @param paths of `credentials.yaml`; the first that is there counts. None is read before a rule names a credential. */
  static at(...paths: readonly string[]): CredentialStore {
    return new CredentialStore(paths);
  }

  /**
   * Credentials that the rules name, new for one sandbox. No secret is fetched here.
   * @throws GateError `ERR_CREDENTIAL` where the tool may not have one, `ERR_CONFIG_*`.
   */
  async credentialsFor(
    rules: readonly NetworkRule[],
    use: CredentialUse,
  ): Promise<readonly GateCredential[]> {
    const named = rules.filter(({ credential }) => credential !== undefined);
    if (named.length === 0) return [];
    const { tier, name } = use.tool;
    if (!TIER_MINIMUMS[tier].credentials)
      throw refused(
        `\`${name}\` is of tier \`${tier}\`, which has no credentials`,
        "say `tier: medium` in its manifest, or remove `credential` from the rule",
      );
    const known = await this.#read(named.map(({ credential = "" }) => credential));
    const wanted = new Map(named.map((rule) => [rule.credential ?? "", find(known, rule)]));
    for (const rule of named) checkRule(find(known, rule), rule);
    for (const settings of wanted.values()) checkUse(settings, use);
    checkVariables([...wanted.values()], use);
    const { createCredential } = await import("./egress/credentials/create-credential.ts");
    return [...wanted.values()].map(({ maskResponses, ...settings }) =>
      createCredential({ ...settings, masksResponses: maskResponses }, secretSource(settings.from), {
        onSecret: use.onSecret,
      }),
    );
  }

  /** The file that counts, or the one to write. */
  async #read(wanted: readonly string[]): Promise<Known> {
    const { readCredentialNames, readCredentials } = await import("./config/credentials.ts");
    for (const path of this.#paths) {
      const found = readCredentials(path, wanted);
      if (found !== undefined) return { path, found, names: () => readCredentialNames(path) ?? [] };
    }
    return { path: this.#paths[0] ?? "credentials.yaml", found: new Map(), names: () => [] };
  }
}

interface Known {
  readonly path: string;
  /** Of those that were asked for. */
  readonly found: ReadonlyMap<string, CredentialSettings>;
  /** All that the file has. */
  readonly names: () => readonly string[];
}

function find({ path, found, names }: Known, { credential = "" }: NetworkRule): CredentialSettings {
  const settings = found.get(credential);
  if (settings !== undefined) return settings;
  throw refused(
    `no credential is named \`${credential}\``,
    didYouMean(credential, names()) ?? `say where it comes from in \`${path}\``,
  );
}

function refused(message: string, remedy: string): GateError {
  return new GateError("ERR_CREDENTIAL", message, { remedy });
}

/** Where requests of a rule go, as a `Host` header says it. */
function authoritiesOf({ host, ports, protocol }: NetworkRule): readonly string[] {
  const usual = protocol === "http" ? 80 : 443;
  return ports.map((port) => (port === usual ? host : `${host}:${port}`));
}

function checkRule({ name, host, allowClear }: CredentialSettings, rule: NetworkRule): void {
  const other = authoritiesOf(rule).find((authority) => authority !== host);
  if (other !== undefined)
    throw refused(
      `credential \`${name}\` is for \`${host}\`, and the rule is for \`${other}\``,
      `write a rule for \`${host}\` alone, or another credential for \`${other}\``,
    );
  if (rule.protocol !== "tls" && !allowClear)
    throw refused(
      `credential \`${name}\` would go to \`${host}\` without TLS`,
      "write `protocol: tls`, or `allowClear: true` beside the credential where that is meant",
    );
}

function checkUse(
  { name, tools, environments }: CredentialSettings,
  { tool, environment }: CredentialUse,
): void {
  if (!tools.some((pattern) => isMatch(pattern, tool.name)))
    throw refused(
      `credential \`${name}\` is not for \`${tool.name}\``,
      `add \`${tool.name}\` to its \`tools\` where that is meant`,
    );
  if (environments !== undefined && !environments.includes(environment))
    throw refused(
      `credential \`${name}\` is not for environment \`${environment}\``,
      `it is for ${environments.map((each) => `\`${each}\``).join(", ")}`,
    );
}

/** Alone `*` is every tool; within a pattern any run of characters but a dot. */
function isMatch(pattern: string, name: string): boolean {
  if (pattern === "*") return true;
  const source = pattern.replaceAll(".", "\\.").replaceAll("*", "[^.]*");
  return new RegExp(`^${source}$`).test(name);
}

/** One variable stands for one credential, and never hides what the manifest says. */
function checkVariables(all: readonly CredentialSettings[], { tool }: CredentialUse): void {
  const taken = new Map(
    Object.keys(tool.run.environment).map((variable) => [variable, "the tool's manifest"]),
  );
  for (const { name, variable } of all) {
    if (variable === undefined) continue;
    const by = taken.get(variable);
    if (by !== undefined)
      throw refused(
        `\`${variable}\` would be set by credential \`${name}\` and by ${by}`,
        "name another `variable`, or none",
      );
    taken.set(variable, `credential \`${name}\``);
  }
}
