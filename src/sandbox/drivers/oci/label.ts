import { readFileSync } from "node:fs";

/** The AppArmor profile that ships in `native/apparmor`. */
const LABEL = "callgate";
/** Root alone may read it; who cannot, cannot know that the profile is there, and a runtime that asks for one that is not fails. */
const LOADED = "/sys/kernel/security/apparmor/profiles";

/** The label for containers, where AppArmor is active and has it loaded for enforcement. */
export function loadedLabel(path: string = LOADED): string | undefined {
  try {
    return readFileSync(path, "utf8").split("\n").includes(`${LABEL} (enforce)`) ? LABEL : undefined;
  } catch {
    return undefined; // no AppArmor, or not for us to see
  }
}
