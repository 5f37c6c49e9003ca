import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { failedWith } from "./beneath.ts";

/**
 * git dies of a folder named `commondir`, so the stand-in there is a file that says what git would assume without it:
 * the repository's own folder. Who needs it is counted in the folder of holders beside it, which is an ordinary
 * stand-in. Whoever leaves says `closing` before looking for others, and whoever comes looks for that after entering:
 * one of two always sees the other.
 */
const CONTENT = ".\n";
const CLOSING = "-closing";

export function isHarmlessCommondir(place: string): boolean {
  try {
    return lstatSync(place).isFile() && readFileSync(place, "utf8") === CONTENT;
  } catch (error) {
    if (failedWith(error, "ENOENT")) return true; // taken away just now
    throw error;
  }
}

/**
 * After `holder` has entered `holders`.
 * @returns false where somebody is about to take it away: leave, and come again.
 */
export function joinCommondir(place: string, holders: string, holder: string): boolean {
  if (readdirSync(holders).some((name) => name.endsWith(CLOSING))) return false;
  const draft = `${holders}/${holder}/draft`;
  writeFileSync(draft, CONTENT, { mode: 0o644 });
  try {
    // With its content from the first moment: git dies of an empty one.
    linkSync(draft, place);
  } catch (error) {
    if (!failedWith(error, "EEXIST") || !isHarmlessCommondir(place)) throw error;
  } finally {
    unlinkSync(draft);
  }
  return true;
}

/** After `holder` has left `holders`: takes the file away where nobody else needs it. */
export function leaveCommondir(place: string, holders: string, holder: string): void {
  const closing = `${holders}/${holder}${CLOSING}`;
  try {
    mkdirSync(closing, 0o700);
  } catch (error) {
    if (failedWith(error, "ENOENT")) return; // whoever left last saw nobody and took it
    if (!failedWith(error, "EEXIST")) throw error;
  }
  try {
    const others = readdirSync(holders).some((name) => !name.endsWith(CLOSING));
    if (!others && isHarmlessCommondir(place)) unlinkSync(place);
  } finally {
    rmdirSync(closing);
  }
}
