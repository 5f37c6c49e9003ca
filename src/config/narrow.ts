import { strongerIsolation } from "../contract/tier.ts";
import { DEFAULT_SETTINGS, type SessionSettings, type Settings } from "./defaults.ts";

/** A part of an untrusted configuration that has no effect, and why. */
export interface Ignored {
  /** As in `callgate.yaml`, joined by dots. */
  readonly key: string;
  readonly reason: string;
}

export interface Narrowed {
  readonly settings: Settings;
  readonly ignored: readonly Ignored[];
}

const UNTIL_TRUSTED = "takes effect once the project is trusted (`callgate trust`)";

function narrowSession(asked: SessionSettings): { session: SessionSettings; ignored: Ignored[] } {
  const { session: most } = DEFAULT_SETTINGS;
  const keys = { uses: "usesMax", expires: "lifeMs", depth: "depthMax" } as const;
  const ignored = Object.entries(keys).flatMap(([key, field]): Ignored[] =>
    asked[field] > most[field]
      ? [{ key: `session.${key}`, reason: `is more than the default; more ${UNTIL_TRUSTED}` }]
      : [],
  );
  const session = {
    usesMax: Math.min(asked.usesMax, most.usesMax),
    lifeMs: Math.min(asked.lifeMs, most.lifeMs),
    depthMax: Math.min(asked.depthMax, most.depthMax),
  };
  return { session, ignored };
}

/**
 * What a configuration that nobody trusted can still do: ask for stronger isolation, hide and protect paths, and
 * lower the bounds of a session. Everything else is as built in, and named in `ignored`.
 */
export function narrow(asked: Settings): Narrowed {
  const { session, ignored } = narrowSession(asked.session);
  const { name, protected: isProtected } = asked.environment;
  const { environment, sandbox, owner } = DEFAULT_SETTINGS;
  const add = (key: string, what: string): void =>
    void ignored.push({ key, reason: `${what} ${UNTIL_TRUSTED}` });
  if (name !== environment.name) add("environment.name", "another environment");
  if (isProtected !== environment.protected) add("environment.protected", "a protected environment");
  if (asked.catalog.length > 0) add("catalog", "the project's tools: each");
  add("policies", "the project's policies: each");
  if (
    asked.owner.kind !== owner.kind ||
    asked.owner.id !== undefined ||
    Object.keys(asked.owner.claims).length > 0
  ) {
    add("callers.owner", "another name for the caller");
  }
  if (asked.sandbox.root.from !== sandbox.root.from) add("sandbox.root", "another root file system");
  const { socket, image, runtime } = asked.sandbox.docker;
  if (socket !== sandbox.docker.socket || runtime !== sandbox.docker.runtime || image !== undefined)
    add("sandbox.docker", "another Docker daemon, runtime or image");
  if (asked.egress.resolvers.length > 0) add("egress.resolvers", "other name servers: each");
  if (asked.egress.authorities.length > 0) add("egress.authorities", "further authorities: each");
  const settings: Settings = {
    ...DEFAULT_SETTINGS,
    catalog: [],
    sandbox: {
      isolation: strongerIsolation(sandbox.isolation, asked.sandbox.isolation),
      root: sandbox.root,
      docker: sandbox.docker,
      hide: asked.sandbox.hide,
      protect: asked.sandbox.protect,
    },
    session,
  };
  return { settings, ignored };
}
