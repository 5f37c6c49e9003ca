import { z } from "zod";
import type { GateError } from "../contract/errors.ts";
import type { HttpRule, Network, NetworkRule } from "../contract/network.ts";
import {
  checkRules,
  completeRule,
  HTTP_RULES_MAX,
  PORTS_MAX,
  parseNetText,
  RULES_MAX,
} from "./network-rule.ts";

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
const rule: z.ZodType<NetworkRule> = z.union([z.string().max(300), written]).transform((given, context) =>
  checked(context, () =>
    // What may follow a comma on the command line has keys of its own here.
    typeof given === "string" ? parseNetText(given.replaceAll(",", " ")) : completeRule(given),
  ),
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
