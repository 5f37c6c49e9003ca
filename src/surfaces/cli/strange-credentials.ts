import { join } from "node:path";
import type { Catalog } from "../../catalog/create-catalog.ts";
import { GateError } from "../../contract/errors.ts";

/** A credential that tools name and that has no source here. */
export interface StrangeCredential {
  readonly name: string;
  readonly warning: string;
}

/**
 * Credentials of a catalogue's tools that are nowhere configured: their calls would be refused.
 * @param folders where `credentials.yaml` may be; the first that is there counts
 */
export async function strangeCredentials(
  catalog: Pick<Catalog, "tools">,
  folders: readonly string[],
): Promise<readonly StrangeCredential[]> {
  const users = new Map<string, string>();
  for (const { name, sandbox } of catalog.tools.values()) {
    if (sandbox.network.mode === "none") continue;
    for (const { credential } of sandbox.network.allow)
      if (credential !== undefined && !users.has(credential)) users.set(credential, name);
  }
  if (users.size === 0) return [];
  const { names, where } = await configured(folders);
  return [...users]
    .filter(([name]) => !names.includes(name))
    .map(([name, tool]) => ({ name, warning: `\`${name}\`, which \`${tool}\` names: ${where}` }));
}

async function configured(
  folders: readonly string[],
): Promise<{ readonly names: readonly string[]; readonly where: string }> {
  const { CREDENTIALS_FILE, readCredentialNames } = await import("../../config/credentials.ts");
  for (const path of folders.map((folder) => join(folder, CREDENTIALS_FILE))) {
    try {
      const names = readCredentialNames(path);
      if (names !== undefined) return { names, where: `say where it comes from in \`${path}\`` };
    } catch (error) {
      if (!(error instanceof GateError)) throw error;
      return { names: [], where: `\`${path}\` cannot be used, ${error.message}` };
    }
  }
  return { names: [], where: `say where it comes from in \`${join(folders[0] ?? "", CREDENTIALS_FILE)}\`` };
}
