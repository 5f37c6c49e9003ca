import { GateError } from "../../../contract/errors.ts";
import { isGone, type Owner, thisProcess } from "../../owner-note.ts";
import type { HostUser } from "../../user.ts";
import { type Engine, messageOf } from "./engine.ts";

/** What of the daemon bears on its containers. */
export interface DaemonFacts {
  readonly version: string;
  readonly runtimes: readonly string[];
  readonly processors: number;
  /** Who of this host a container's user is: another where the daemon remaps users. */
  readonly onHost: (inside: HostUser) => HostUser;
}

/** Containers of ours carry their gateway under this name, for the next to know whose they were. */
const OWNER_LABEL = "callgate.owner";

interface InfoAnswer {
  readonly ServerVersion?: string;
  readonly Runtimes?: Readonly<Record<string, unknown>>;
  readonly NCPU?: number;
  readonly SecurityOptions?: readonly string[];
  readonly DockerRootDir?: string;
}

/** @throws GateError `ERR_DRIVER_UNAVAILABLE`. */
export async function readDaemon(engine: Engine): Promise<DaemonFacts> {
  const answer = await engine.call("GET", "/info");
  if (answer.status !== 200) {
    throw new GateError("ERR_DRIVER_UNAVAILABLE", `docker does not say what it is: ${messageOf(answer)}`, {
      remedy: "run `callgate doctor`",
    });
  }
  const info = answer.body as InfoAnswer;
  if (info.SecurityOptions?.includes("name=rootless") === true) {
    throw new GateError(
      "ERR_DRIVER_UNAVAILABLE",
      "this docker is rootless: its users of this host are not known",
      {
        remedy:
          "name the socket of one that root runs, or ask for `process` isolation, which needs no root either",
      },
    );
  }
  const remaps = info.SecurityOptions?.includes("name=userns") === true;
  // The daemon keeps what it has for each mapping in a folder named after it.
  const [, uid = 0, gid = 0] =
    (remaps && /\/(\d+)\.(\d+)$/.exec(info.DockerRootDir ?? "")?.map(Number)) || [];
  return {
    version: info.ServerVersion ?? "of an unknown version",
    runtimes: Object.keys(info.Runtimes ?? {}),
    processors: info.NCPU ?? 1,
    onHost: (inside) => ({ uid: inside.uid + uid, gid: inside.gid + gid }),
  };
}

/**
 * Runtimes whose containers can be looked at from outside as this driver does. What runs in gVisor or in a virtual
 * machine is not: the host sees the sentry, and no evidence would be true of the tool.
 */
const RUNTIMES = ["runc", "crun"];

/** @throws GateError `ERR_DRIVER_UNAVAILABLE`. */
export function requireRuntime({ runtimes }: DaemonFacts, runtime: string): void {
  if (!RUNTIMES.includes(runtime)) {
    throw new GateError(
      "ERR_DRIVER_UNAVAILABLE",
      `what docker's runtime \`${runtime}\` isolates cannot be verified by this version`,
      {
        remedy: `use ${RUNTIMES.join(" or ")} in \`sandbox.docker.runtime\`; for gVisor ask for \`gvisor\` isolation, which needs no docker`,
      },
    );
  }
  if (!runtimes.includes(runtime)) {
    throw new GateError("ERR_DRIVER_UNAVAILABLE", `the Docker daemon has no runtime \`${runtime}\``, {
      remedy: `add it under \`runtimes\` in /etc/docker/daemon.json and restart docker; it has ${runtimes.join(", ")}`,
    });
  }
}

export function ownLabels(): Readonly<Record<string, string>> {
  return { [OWNER_LABEL]: JSON.stringify(thisProcess()) };
}

/** Removes what gateways that are gone have left, processes and all. */
export async function removeOrphans(engine: Engine): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ label: [OWNER_LABEL] }));
  const { body } = await engine.call("GET", `/containers/json?all=true&filters=${filters}`);
  const listed = Array.isArray(body)
    ? (body as readonly { Id: string; Labels?: Record<string, string> }[])
    : [];
  for (const { Id, Labels } of listed) {
    const owner = parseOwner(Labels?.[OWNER_LABEL]);
    if (owner !== undefined && isGone(owner)) await removeContainer(engine, Id);
  }
}

/** @returns whether it is gone. */
export async function removeContainer(engine: Engine, container: string): Promise<boolean> {
  const { status } = await engine.call("DELETE", `/containers/${container}?force=true&v=true`);
  return status === 204 || status === 404;
}

/** Whoever may start containers may label them; what does not read as ours is left alone. */
function parseOwner(text: string | undefined): Owner | undefined {
  try {
    const owner = JSON.parse(text ?? "") as Partial<Owner>;
    const { boot, namespace, pid, startTicks } = owner;
    if (typeof boot !== "string" || typeof namespace !== "string") return undefined;
    if (typeof pid !== "number" || typeof startTicks !== "string") return undefined;
    return { boot, namespace, pid, startTicks };
  } catch {
    return undefined;
  }
}
