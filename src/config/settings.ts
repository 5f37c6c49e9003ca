import { isIP, isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import type { Environment } from "../contract/call.ts";
import { DEFAULT_DOCKER, type DockerSettings } from "../contract/docker.ts";
import type { GateError } from "../contract/errors.ts";
import { parseRoot, type RootRequest } from "../contract/root.ts";
import { ISOLATION_CLASSES } from "../contract/tier.ts";
import type { EgressSettings, OwnerSettings, Settings } from "./defaults.ts";
import { parseDocument, validate } from "./document.ts";
import type { Refusal } from "./issues.ts";
import { measureDuration } from "./units.ts";

const ELSEWHERE =
  "say it in `$XDG_CONFIG_HOME/callgate` (`/etc/callgate` for a service), outside of any project";
const LATER = "remove it; it comes with a later version";

function notOfProjects(path: string, what: string): Refusal {
  return {
    path,
    message: `a project cannot name ${what}, so \`${path}\` is not allowed here`,
    remedy: ELSEWHERE,
  };
}

function later(path: string, what: string): Refusal {
  return { path, message: `${what} is not in this version`, remedy: LATER };
}

/** What a cloned repository must not decide (architecture.md, "The root of trust"), and what is not built yet. */
const SETTINGS_REFUSALS: readonly Refusal[] = [
  notOfProjects("credentials", "where credentials come from"),
  notOfProjects("secrets", "where credentials come from"),
  notOfProjects("approvers", "who approves"),
  notOfProjects("approvals", "who approves"),
  notOfProjects("state", "a state folder"),
  notOfProjects("stateDir", "a state folder"),
  notOfProjects("key", "a signing key"),
  notOfProjects("keys", "a signing key"),
  notOfProjects("command", "a command to run outside a sandbox"),
  notOfProjects("commands", "a command to run outside a sandbox"),
  notOfProjects("hooks", "a command to run outside a sandbox"),
  notOfProjects("sandbox.command", "a command to run outside a sandbox"),
  notOfProjects("sandbox.driver", "a command to run outside a sandbox"),
  later("upstreams", "`upstreams` (tool servers behind the gate)"),
  later("callers.oidc", "a caller proven by an OIDC token"),
  later("callers.oauth", "a caller proven by an OAuth access token"),
  later("callers.kubernetes", "a caller proven by a Kubernetes service account"),
  later("callers.spiffe", "a caller proven by a SPIFFE identity"),
  {
    path: "callers.owner.kind",
    message:
      "the owner of this process can be a `User` or an `Agent`; `Job` and `Service` are not in this version",
  },
];

interface SettingsFile {
  readonly version: 1;
  readonly environment: Environment;
  readonly catalog: readonly string[];
  readonly policies: string;
  readonly sandbox: Settings["sandbox"];
  readonly egress: EgressSettings;
  readonly callers: { readonly owner: OwnerSettings };
  readonly session: { readonly uses: number; readonly expires: number; readonly depth: number };
}

/** Braces, classes and extended globs would hide a `..` from a reader. */
const MEANINGLESS = /[[\]{}()!\\\x00-\x1f\x7f]/;

function projectPath(description: string, wildcards: "globs" | "literal"): z.ZodType<string> {
  return z
    .string()
    .min(1)
    .max(1024)
    .superRefine((path, context) => {
      const problem = pathProblem(path, wildcards);
      if (problem === undefined) return;
      const remedy = `write a path relative to this file${wildcards === "globs" ? "; `*`, `?` and `**` are wildcards" : ""}`;
      context.addIssue({ code: "custom", message: problem, params: { remedy } });
    })
    .meta({ description });
}

function pathProblem(path: string, wildcards: "globs" | "literal"): string | undefined {
  if (path.startsWith("/")) return `\`${path}\` is absolute, and a project names only what is inside it`;
  if (path.startsWith("~")) return `\`${path}\` starts with \`~\`, which is not expanded here`;
  if (path.split("/").includes("..")) return `\`${path}\` leaves the project`;
  if (MEANINGLESS.test(path)) return `\`${path}\` holds a character that is not allowed in a path here`;
  if (wildcards === "literal" && /[*?]/.test(path))
    return `\`${path}\` holds a wildcard, and one path is meant here`;
  return undefined;
}

const duration: z.ZodType<number> = z.string().transform((text, context) => {
  const measured = measureDuration(text);
  if (measured.ok) return measured.value;
  const { message, remedy } = measured.problem;
  context.addIssue({ code: "custom", message, params: { remedy } });
  return z.NEVER;
});

const NAME = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}$/);

const owner: z.ZodType<OwnerSettings> = z.strictObject({
  kind: z
    .enum(["User", "Agent"])
    .default("User")
    .meta({ description: "what policies see as the principal's type" }),
  id: z.exactOptional(NAME.meta({ description: "the principal's id; unset: the account's name" })),
  claims: z
    .record(
      z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/),
      z.union([z.string().max(1024), z.int(), z.boolean()]),
    )
    .default({})
    .meta({ description: "attributes of the principal that policies may rely on" }),
});

/** A project names only what is inside it, and a container engine's images by digest. */
const root: z.ZodType<RootRequest> = z.string().transform((text, context) => {
  try {
    const asked = parseRoot(text);
    const problem = "path" in asked ? pathProblem(asked.path, "literal") : undefined;
    if (problem === undefined) return asked;
    const remedy = "write a path relative to this file";
    context.addIssue({ code: "custom", message: problem, params: { remedy } });
  } catch (error) {
    const { message, remedy } = error as GateError;
    context.addIssue({ code: "custom", message, params: { remedy } });
  }
  return z.NEVER;
});

/** unix(7): an address has room for 107 bytes. */
const SOCKET_LENGTH_MAX = 107;
const IMAGE_BY_DIGEST = /^(?:[^@\s]+@)?sha256:[0-9a-f]{64}$/;

const docker: z.ZodType<DockerSettings> = z.strictObject({
  socket: z
    .string()
    .max(SOCKET_LENGTH_MAX)
    .refine((path) => /^\/[^\0]+$/.test(path), { error: "a socket is named by its absolute path" })
    .default(DEFAULT_DOCKER.socket)
    .meta({ description: "the Docker daemon's Unix socket, an absolute path; no tool ever sees it" }),
  image: z.exactOptional(
    z
      .string()
      .superRefine((text, context) => {
        if (IMAGE_BY_DIGEST.test(text)) return;
        const message = `\`${text}\` does not name an image by its digest, and a tag can be moved`;
        const remedy = "write `NAME@sha256:DIGEST`";
        context.addIssue({ code: "custom", message, params: { remedy } });
      })
      .meta({ description: "image of containers whose tool names none: NAME@sha256:DIGEST" }),
  ),
  runtime: NAME.default(DEFAULT_DOCKER.runtime).meta({ description: "one of the daemon's runtimes" }),
});

const sandbox: z.ZodType<Settings["sandbox"]> = z.strictObject({
  isolation: z
    .enum(ISOLATION_CLASSES)
    .default("process")
    .meta({ description: "the least isolation here; a tool, tier or policy may only ask for more" }),
  root: root.prefault("host").meta({
    description: "root file system: host, folder:PATH, oci:PATH[@sha256:DIGEST] or image:NAME@sha256:DIGEST",
  }),
  docker: docker.prefault({}).meta({ description: "where `container` isolation comes from" }),
  hide: z
    .array(projectPath("a path relative to this file", "literal"))
    .max(256)
    .default([])
    .meta({ description: "paths no tool sees" }),
  protect: z
    .array(projectPath("a path relative to this file", "literal"))
    .max(256)
    .default([])
    .meta({ description: "paths no tool writes" }),
});

const egress: z.ZodType<EgressSettings> = z.strictObject({
  resolvers: z
    .array(
      z.string().refine((text) => isNameServer(text), {
        error: "a name server is an address, or an address and a port",
        params: { remedy: "write `192.0.2.53` or `192.0.2.53:53`" },
      }),
    )
    .max(8)
    .default([])
    .meta({ description: "name servers for the hosts of tools; none: as this host resolves names" }),
  authorities: z
    .array(projectPath("a PEM file, relative to this one", "literal"))
    .max(16)
    .default([])
    .meta({ description: "authorities that the gate and its tools trust beside the system's" }),
});

/** node:dns takes an address, and `address:port` or `[address]:port`. */
function isNameServer(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const shape = /^(?:(?<four>[0-9.]+)|\[(?<six>[0-9a-fA-F.:]+)\]):(?<port>\d{1,5})$/;
  const { four = "", six = "", port = "" } = shape.exec(text)?.groups ?? {};
  return (isIPv4(four) || isIPv6(six)) && Number(port) >= 1 && Number(port) <= 65_535;
}

/** The schema of `callgate.yaml`. */
export const settingsSchema: z.ZodType<SettingsFile> = z
  .strictObject({
    version: z.literal(1).meta({ description: "version of this file's form" }),
    environment: z
      .strictObject({
        name: NAME.default("development").meta({ description: "the environment calls act in" }),
        protected: z
          .boolean()
          .default(false)
          .meta({ description: "high and critical tools may act only where true" }),
      })
      .prefault({})
      .meta({ description: "where calls act; policies see it" }),
    catalog: z
      .array(projectPath("a file or glob of tool manifests, relative to this file", "globs"))
      .max(64)
      .default(["tools/*.yaml"])
      .meta({ description: "tool manifests" }),
    policies: projectPath(
      "folder of *.cedar, one @id each; policy tests in its folder tests",
      "literal",
    ).prefault("policies"),
    sandbox: sandbox.prefault({}).meta({ description: "what holds for every sandbox" }),
    egress: egress.prefault({}).meta({ description: "how the gate reaches what tools may reach" }),
    callers: z
      .strictObject({
        owner: owner.prefault({}).meta({ description: "who the owner of the gate's process is" }),
      })
      .prefault({})
      .meta({ description: "who calls" }),
    session: z
      .strictObject({
        uses: z
          .int()
          .min(1)
          .max(1_000_000)
          .default(10_000)
          .meta({ description: "calls one session may make" }),
        expires: duration.prefault("12h").meta({ description: "how long one session lasts, such as 12h" }),
        depth: z.int().min(0).max(8).default(2).meta({ description: "how deep tools may call tools" }),
      })
      .prefault({})
      .meta({ description: "bounds on one session" }),
  })
  .meta({ title: "callgate.yaml", description: "configuration of one project" });

/**
 * Parses the text of a `callgate.yaml`. `file` is the name errors carry.
 * @throws GateError `ERR_CONFIG_SYNTAX` or `ERR_CONFIG_INVALID` with the place.
 */
export function parseSettings(text: string, file: string): Settings {
  const { environment, catalog, policies, sandbox, egress, callers, session } = validate(
    parseDocument(text, file),
    settingsSchema,
    SETTINGS_REFUSALS,
  );
  return {
    environment,
    catalog,
    policies,
    sandbox,
    egress,
    owner: callers.owner,
    session: { usesMax: session.uses, lifeMs: session.expires, depthMax: session.depth },
  };
}
