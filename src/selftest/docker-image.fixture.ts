import { execFileSync } from "node:child_process";

/** What the probes' programs are in, on Debian, and what those need. */
const PACKAGES = [
  ...["bash", "coreutils", "dash", "grep", "libc-bin", "login", "perl-base", "sed", "util-linux"],
  ...["libacl1", "libattr1", "libaudit1", "libblkid1", "libc6", "libcap-ng0", "libcrypt1", "libgcc-s1"],
  ...[
    "libgmp10",
    "libmount1",
    "libpam0g",
    "libpcre2-8-0",
    "libselinux1",
    "libstdc++6",
    "libtinfo6",
    "libuuid1",
  ],
];
const BYTES_MAX = 256 * 1024 * 1024;

/** A root file system made of the host's own packages, so that nothing is fetched. */
export function hostRootTar(): Buffer {
  const listed = execFileSync("dpkg", ["-L", ...PACKAGES], { encoding: "utf8" }).split("\n");
  const paths = listed
    .filter((path) => path !== "" && path !== "/." && !/\/share\/(?:doc|man|locale)/.test(path))
    // Packages name files by the links of a merged /usr too.
    .map((path) => path.replace(/^\/(bin|sbin|lib|lib64)(?=\/|$)/, "/usr/$1"));
  const whole = new Set([...paths, "/bin", "/sbin", "/lib", "/lib64", "/tmp", "/home"]);
  const input = [...whole].map((path) => `.${path}`).join("\n");
  const args = ["-C", "/", "-c", "--no-recursion", "--ignore-failed-read", "-T", "-"];
  return execFileSync("tar", args, { input, maxBuffer: BYTES_MAX, stdio: ["pipe", "pipe", "ignore"] });
}
