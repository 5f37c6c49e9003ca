import { createHash, randomBytes, X509Certificate } from "node:crypto";
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { javaKeystore } from "./java-keystore.ts";

/** Where the system's roots are, and where tools find ours in a sandbox. */
const SYSTEM_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const SYSTEM_JAVA = "/etc/ssl/certs/java/cacerts";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Each ecosystem reads its own; most that read none read the system's bundle, in whose place ours is laid. */
const VARIABLES: readonly string[] = [
  "SSL_CERT_FILE",
  "NODE_EXTRA_CA_CERTS",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "GIT_SSL_CAINFO",
  "PIP_CERT",
  "AWS_CA_BUNDLE",
  "CARGO_HTTP_CAINFO",
  "NPM_CONFIG_CAFILE",
  "DENO_CERT",
  "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
];

/** Files by which a sandbox's tools trust more than the system does. */
export interface TrustFiles {
  /** PEM: the system's roots and ours. */
  readonly bundle: string;
  /** The same for Java, where the host has its store. */
  readonly java?: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Which files of the host say what it trusts. */
export interface SystemTrust {
  readonly bundle: string;
  readonly java: string;
}

/**
 * Writes what is not yet there. Files are named by what they hold, and so never change under a sandbox that has them.
 * @param folder there already, and nobody else's
 * @param authorities PEM
 */
export function trustFiles(
  folder: string,
  authorities: readonly string[],
  system: SystemTrust = { bundle: SYSTEM_BUNDLE, java: SYSTEM_JAVA },
): TrustFiles {
  const roots = existsSync(system.bundle) ? certificatesIn(readFileSync(system.bundle, "latin1")) : [];
  const ours = authorities.flatMap((pem) => certificatesIn(pem));
  const all = [...new Set([...roots, ...ours])];
  const bundle = kept(folder, "authorities", "pem", Buffer.from(`${all.join("\n")}\n`, "latin1"));
  const environment = Object.fromEntries(VARIABLES.map((name) => [name, SYSTEM_BUNDLE]));
  if (!existsSync(system.java)) return { bundle, environment };
  const store = javaKeystore(
    all.map((pem) => new X509Certificate(pem).raw),
    0,
  );
  return { bundle, java: kept(folder, "authorities", "jks", store), environment };
}

/** One PEM block each, without what stands around it. */
function certificatesIn(text: string): string[] {
  return [...text.matchAll(CERTIFICATE)].map(([block]) => block.replaceAll("\r", ""));
}

/** @returns the path of a file of that content, which appears whole or not at all. */
function kept(folder: string, stem: string, extension: string, content: Buffer): string {
  const digest = createHash("sha256").update(content).digest("hex").slice(0, 32);
  const path = join(folder, `${stem}-${digest}.${extension}`);
  if (existsSync(path)) return path;
  const draft = join(folder, `.${randomBytes(8).toString("hex")}.draft`);
  writeFileSync(draft, content, { flag: "wx" });
  chmodSync(draft, 0o444); // Past any umask: the sandbox's user has to read it.
  renameSync(draft, path);
  return path;
}
