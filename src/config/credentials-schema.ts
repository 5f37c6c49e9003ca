import { isAbsolute } from "node:path";
import { z } from "zod";

const CREDENTIAL_KINDS = ["bearer", "basic", "header", "query", "sigv4", "placeholder"] as const;
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number];

/** One credential as it is written: which keys go with which kind is not the schema's to say. */
export interface WrittenCredential {
  readonly host: string;
  readonly from: {
    readonly environment?: string;
    readonly file?: string;
    readonly command?: readonly string[];
  };
  readonly kind: CredentialKind;
  readonly user?: string;
  readonly header?: string;
  readonly prefix?: string;
  readonly parameter?: string;
  readonly region?: string;
  readonly service?: string;
  readonly variable?: string;
  readonly shape?: string;
  readonly tools: readonly string[];
  readonly environments?: readonly string[];
  readonly maskResponses: boolean;
  readonly allowClear: boolean;
}

interface CredentialsFile {
  readonly version: 1;
  readonly credentials: Readonly<Record<string, WrittenCredential>>;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*(?::[1-9]\\d{0,4})?$`);
/** RFC 9110 5.1: a token. */
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
/** Visible ASCII and blanks between: it stands in a header. */
const HEADER_TEXT = /^[\x20-\x7e]{1,256}$/;
const REGION = /^[a-z0-9-]{1,64}$/;
const TOOLS = /^(?!.*\*\*)(?:\*|[a-z0-9_*-]+(?:\.[a-z0-9_*-]+)*)$/;
const ENVIRONMENT = /^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}$/;
const ARGUMENTS_MAX = 64;
const CREDENTIALS_MAX = 256;

/** Headers that say where a request goes and how long it is: a secret in one of them would change what is sent. */
const FRAMING: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What a sandbox sets itself. */
const OWN_VARIABLES: ReadonlySet<string> = new Set(["HOME", "LANG", "PATH", "TERM"]);

function text(pattern: RegExp, error: string, remedy?: string): z.ZodString {
  return z
    .string()
    .max(4096)
    .refine((value) => pattern.test(value), {
      error,
      ...(remedy === undefined ? {} : { params: { remedy } }),
    });
}

function portOf(host: string): number | undefined {
  const port = /:(\d+)$/.exec(host)?.[1];
  return port === undefined ? undefined : Number(port);
}

function absolute(what: string): z.ZodString {
  return z
    .string()
    .max(4096)
    .refine((path) => isAbsolute(path), { error: `${what} is named by its absolute path` });
}

const source: z.ZodType<WrittenCredential["from"]> = z.strictObject({
  environment: z.exactOptional(
    text(VARIABLE, "a variable's name is letters, digits and `_`").meta({
      description: "a variable of the gateway's own environment",
    }),
  ),
  file: z.exactOptional(
    absolute("a file").meta({ description: "a file that nobody else can read, by its absolute path" }),
  ),
  command: z.exactOptional(
    z
      .tuple([absolute("a program")], z.string().max(4096))
      .refine((argv) => argv.length <= ARGUMENTS_MAX, { error: `more than ${ARGUMENTS_MAX} arguments` })
      .meta({ description: "a program by its absolute path and its arguments, run without a shell" }),
  ),
});

const credential: z.ZodType<WrittenCredential> = z.strictObject({
  host: text(HOST, "a host is one lower-case name, with `:PORT` where that is not 443")
    .refine((host) => portOf(host) !== 443, {
      error: "port 443 is the scheme's own, and not written",
      params: { remedy: "leave `:443` out" },
    })
    .refine((host) => (portOf(host) ?? 1) <= 65_535, { error: "a port is a number from 1 to 65535" })
    .meta({
      description: "the one host it is sent to; with :PORT where that is not 443 (80 in clear)",
    }),
  from: source.meta({ description: "where the gateway gets the secret" }),
  kind: z
    .enum(CREDENTIAL_KINDS)
    .meta({ description: "how it is added; placeholder: only where the tool put the placeholder" }),
  user: z.exactOptional(
    text(/^[^:\x00-\x1f\x7f]{1,256}$/, "a user's name has no `:` (RFC 7617) and no control characters").meta({
      description: "of `kind: basic`",
    }),
  ),
  header: z.exactOptional(
    text(HEADER, "a header's name is a token (RFC 9110)")
      .refine((name) => !FRAMING.has(name.toLowerCase()), { error: "this header is the gate's own" })
      .meta({ description: "of `kind: header`" }),
  ),
  prefix: z.exactOptional(
    text(HEADER_TEXT, "what stands before the secret is visible ASCII").meta({
      description: "of `kind: header`: what stands before the secret, such as `token `",
    }),
  ),
  parameter: z.exactOptional(
    text(/^[\x21-\x7e]{1,256}$/, "a parameter's name is visible ASCII").meta({
      description: "of `kind: query`",
    }),
  ),
  region: z.exactOptional(
    text(REGION, "a region is lower-case letters, digits and `-`").meta({ description: "of `kind: sigv4`" }),
  ),
  service: z.exactOptional(
    text(REGION, "a service is lower-case letters, digits and `-`").meta({ description: "of `kind: sigv4`" }),
  ),
  variable: z.exactOptional(
    text(VARIABLE, "a variable's name is letters, digits and `_`")
      .refine((name) => !OWN_VARIABLES.has(name), { error: "this variable is the sandbox's own" })
      .meta({
        description: "the tool finds a placeholder there, which the gate replaces on the way out",
      }),
  ),
  shape: z.exactOptional(
    text(/^[A-Za-z0-9_.-]{1,32}$/, "a shape is up to 32 letters, digits, `_`, `.` and `-`").meta({
      description: "what the placeholder begins with, such as ghp_",
    }),
  ),
  tools: z
    .array(
      text(
        TOOLS,
        "a tool is named, or matched with `*` for any characters but a dot",
        "write `repo.*`, or `*` for every tool",
      ),
    )
    .min(1)
    .max(256)
    .meta({ description: "tools that may have it; `*` alone is every tool" }),
  environments: z.exactOptional(
    z
      .array(text(ENVIRONMENT, "an environment is named as in callgate.yaml"))
      .min(1)
      .max(64)
      .meta({ description: "environments it may be used in; unset: all" }),
  ),
  maskResponses: z
    .boolean()
    .default(true)
    .meta({ description: "the secret is masked in what the host sends back" }),
  allowClear: z
    .boolean()
    .default(false)
    .meta({ description: "it may be sent without TLS, where everybody on the way reads it" }),
});

/** The schema of `credentials.yaml`. */
export const credentialsSchema: z.ZodType<CredentialsFile> = z
  .strictObject({
    version: z.literal(1).meta({ description: "version of this file's form" }),
    credentials: z
      .record(z.string().regex(NAME), credential)
      .refine((all) => Object.keys(all).length <= CREDENTIALS_MAX, {
        error: `more than ${CREDENTIALS_MAX} credentials`,
      })
      .meta({ description: "credentials by the name that rules use" }),
  })
  .meta({
    title: "credentials.yaml",
    description: "where credentials come from and who may have them; in $XDG_CONFIG_HOME/callgate",
  });
