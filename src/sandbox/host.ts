import { existsSync, lstatSync, readlinkSync, realpathSync } from "node:fs";

/** What of the host every sandbox may read; found once per driver. */
export interface HostLayout {
  /** Folders bound read-only. */
  readonly system: readonly string[];
  /** Merged-`/usr` links, as [path, target]. */
  readonly links: readonly (readonly [string, string])[];
  /** Folders of `/etc` that ordinary programs need, as [path, where it really is]; bound read-only. */
  readonly etcFolders: readonly (readonly [string, string])[];
  /** Small files of `/etc`, copied in: a mount for each would cost a third of the launch. */
  readonly etcFiles: readonly string[];
}

const TOP = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/** No account, key, host name or configuration of a service among either. */
const ETC_FOLDERS = ["/etc/alternatives", "/etc/fonts", "/etc/pki/ca-trust", "/etc/ssl/certs"];
const ETC_FILES = [
  "/etc/host.conf",
  "/etc/ld.so.cache",
  "/etc/localtime",
  "/etc/magic",
  "/etc/mime.types",
  "/etc/protocols",
  "/etc/services",
  "/etc/ssl/openssl.cnf",
  "/etc/timezone",
];

export function readHostLayout(): HostLayout {
  const links: [string, string][] = [];
  const system = ["/usr"];
  for (const path of TOP) {
    if (!existsSync(path)) continue;
    if (lstatSync(path).isSymbolicLink()) links.push([path, readlinkSync(path)]);
    else system.push(path);
  }
  return {
    system,
    links,
    etcFolders: ETC_FOLDERS.filter((path) => existsSync(path)).map(
      (path) => [path, realpathSync(path)] as const,
    ),
    etcFiles: ETC_FILES.filter((path) => existsSync(path)),
  };
}
