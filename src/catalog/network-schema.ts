import { z } from "zod";
import type { Hint } from "../config/issues.ts";
import type { GateError } from "../contract/errors.ts";
import type { HttpRule, Network, NetworkRule } from "../contract/network.ts";
import { checkRules, completeRule, HTTP_RULES_MAX, PORTS_MAX, RULES_MAX } from "./network-rule.ts";
import { parseShortRule } from "./network-text.ts";

const NETWORK = "sandbox.network";
const RULE = `${NETWORK}.allow.*`;

/** What to do about a manifest's network that does not fit. */
export const NETWORK_HINTS: readonly Hint[] = [
  { path: NETWORK, remedy: "write `network: none`, or `network: { allow: [api.example.com] }`" },
  { path: `${NETWORK}.allow`, remedy: "name a host, or write `network: none`" },
  { path: RULE, remedy: "write `api.example.com`, or `{ host: api.example.com, ports: [8443] }`" },
  { path: `${RULE}.host`, remedy: "write `host: api.example.com`" },
  { path: `${RULE}.protocol`, value: "https", remedy: "write `protocol: tls`, or remove the key" },
  { path: `${RULE}.protocol`, remedy: "write `protocol: tls`, `http` or `tcp`, or remove the key" },
  { path: `${RULE}.ports`, remedy: "write such as `ports: [443, 8443]`, or remove the key" },
  { path: `${RULE}.ports.*`, remedy: "a port is a number from 1 to 65535; a range has no place here" },
  {
    path: `${RULE}.http`,
    remedy: 'write such as `http: [{ methods: [GET], paths: ["/**"] }]`, or remove the key',
  },
  { path: `${RULE}.http.*.methods`, remedy: "write such as `methods: [GET, HEAD]`" },
  { path: `${RULE}.http.*.paths`, remedy: 'write such as `paths: ["/repos/**"]`' },
  { path: `${RULE}.credential`, remedy: "write the name that it has in `credentials.yaml`" },
  { path: `${RULE}.allowPrivate`, remedy: "write `allowPrivate: true`, or remove the key" },
];

/** RFC 9110 9.1: a token; methods are case-sensitive, and those of the registry are upper case. */
const METHOD = /^[A-Z][A-Z0-9_-]{0,31}$/;
const PATTERN_LENGTH_MAX = 1024;

const httpRule: z.ZodType<HttpRule> = z.strictObject({
  methods: z
    .array(
      z.string().refine((method) => METHOD.test(method), {
        error: "a method is written in capital letters, such as GET",
      }),
    )
    .min(1)
    .max(32)
    .meta({ description: "such as [GET, HEAD]" }),
  paths: z
    .array(z.string().max(PATTERN_LENGTH_MAX).superRefine(checkPattern))
    .min(1)
    .max(256)
    .meta({ description: "`*` is anything within one segment, a last `/**` everything below" }),
  upgrade: z.exactOptional(z.literal(true).meta({ description: "a WebSocket may be opened by it" })),
});

function checkPattern(pattern: string, context: z.RefinementCtx): void {
  const problem = patternProblem(pattern);
  if (problem === undefined) return;
  context.addIssue({ code: "custom", message: problem.message, params: { remedy: problem.remedy } });
}

function patternProblem(pattern: string): { message: string; remedy: string } | undefined {
  if (!pattern.startsWith("/"))
    return { message: `\`${pattern}\` is not a path`, remedy: "begin it with `/`" };
  if (/\*\*(?!$)/.test(pattern) || (pattern.includes("**") && !pattern.endsWith("/**")))
    return {
      message: `\`${pattern}\` has \`**\` inside`,
      remedy: "end it with `/**`, or write `*` for one segment",
    };
  if (
    /[?#\\;%\s]/.test(pattern) ||
    /[^\x21-\x7e]/.test(pattern) ||
    /\/\.{1,2}(?:\/|$)/.test(pattern) ||
    /\/\//.test(pattern)
  )
    return {
      message: `\`${pattern}\` is not a normalised path`,
      remedy: "write it decoded, without a query, `;`, `.`, `..` or `//`",
    };
  return undefined;
}

const port = z.int().min(1).max(65_535);

/** Hands the words of a check on to the document's own errors. */
function checked<T>(context: z.RefinementCtx, check: () => T): T {
  try {
    return check();
  } catch (error) {
    const { message, remedy } = error as GateError;
    context.addIssue({ code: "custom", message, params: { remedy } });
    return z.NEVER;
  }
}

const written = z.strictObject({
  host: z.string().max(300).meta({
    description: "a name; `*.` and a name for all below it; or an IPv4 address",
  }),
  ports: z.exactOptional(
    z.array(port).min(1).max(PORTS_MAX).meta({ description: "443 where nothing is said" }),
  ),
  protocol: z.exactOptional(
    z.enum(["tls", "http", "tcp"]).meta({
      description:
        "tls where nothing is said: the name in the ClientHello is judged; http: each request, in clear; tcp: neither",
    }),
  ),
  http: z.exactOptional(
    z.array(httpRule).min(1).max(HTTP_RULES_MAX).meta({
      description: "TLS is opened at the gate, and only these requests pass",
    }),
  ),
  credential: z.exactOptional(
    z
      .string()
      .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
      .meta({
        description: "added by the gate to each request; no tool ever holds it",
      }),
  ),
  allowPrivate: z.exactOptional(
    z.boolean().meta({ description: "the name may stand for a private or loopback address" }),
  ),
});

/** `HOST` or `HOST:PORT`, or all that can be said. */
const rule: z.ZodType<NetworkRule> = z
  .union([z.string().max(300), written])
  .transform((given, context) =>
    checked(context, () => (typeof given === "string" ? parseShortRule(given) : completeRule(given))),
  ) as never;

/** What a manifest says of the network. */
export const networkSchema: z.ZodType<Network> = z
  .union([
    z.literal("none"),
    z.strictObject({
      allow: z
        .array(rule)
        .min(1)
        .max(RULES_MAX)
        .meta({ description: "hosts it reaches; all others do not exist" }),
    }),
  ])
  .transform((network, context): Network => {
    if (network === "none") return { mode: "none" };
    // Only once each of them is well-formed.
    checked(context, () => checkRules(network.allow));
    return { mode: "names", allow: network.allow };
  }) as never;
