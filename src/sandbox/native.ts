import { accessSync, constants } from "node:fs";
import { arch } from "node:os";
import { resolve } from "node:path";

/** `native/bin` of this package, beside `src` and `dist` alike. */
const FOLDER = resolve(import.meta.dirname, "../../native/bin");

/** @returns the path of a native program for this machine, or undefined where it was not built. */
export function nativeProgram(name: string): string | undefined {
  const path = resolve(FOLDER, `${name}-${arch()}`);
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}
