import { GateError } from "../../../contract/errors.ts";
import type { Root } from "../../../contract/root.ts";
import { type Engine, messageOf } from "./engine.ts";

/** What of an image bears on a container. */
export interface ImageFacts {
  /** `sha256:…` of its configuration: what is asked for when the container is made. */
  readonly id: string;
  /** Names of the variables it sets, all of which are taken away. */
  readonly variables: readonly string[];
  /** Folders for which it asks for a volume. */
  readonly volumes: readonly string[];
}

const BY_DIGEST = /^(?:[^@\s]+@)?(sha256:[0-9a-f]{64})$/;

/**
 * The image of a profile, or else the configured one.
 * @throws GateError `ERR_CONTROL_UNAVAILABLE` where there is neither, or one that a tag names: a tag can be moved.
 */
export function imageReference(root: Root, configured: string | undefined): string {
  if (root.from !== "host" && root.from !== "image") {
    throw new GateError("ERR_CONTROL_UNAVAILABLE", `docker has no root file system from a ${root.from}`, {
      remedy: "name an image by digest (`image:NAME@sha256:…`), or ask for `process` isolation",
    });
  }
  const reference = root.from === "image" ? root.reference : configured;
  if (reference === undefined) {
    throw new GateError("ERR_CONTROL_UNAVAILABLE", "a container needs an image, and none is named", {
      remedy: "name one by digest in the tool's manifest, or for all tools in `sandbox.docker.image`",
    });
  }
  if (!BY_DIGEST.test(reference)) {
    throw new GateError("ERR_CONTROL_UNAVAILABLE", `\`${reference}\` does not name an image by its digest`, {
      remedy: `write \`NAME@sha256:…\` (\`docker inspect --format '{{.RepoDigests}} {{.Id}}' ${reference}\`)`,
    });
  }
  return reference;
}

interface ImageAnswer {
  readonly Id: string;
  readonly Config?: {
    readonly Env?: readonly string[] | null;
    readonly Volumes?: Readonly<Record<string, unknown>> | null;
  };
}

/**
 * Looks an image up by repository digest or, for one that was built or imported here, by its own id. Never pulls.
 * @throws GateError `ERR_CONTROL_UNAVAILABLE` where the daemon has no such image.
 */
export async function findImage(engine: Engine, reference: string): Promise<ImageFacts> {
  const [, digest = ""] = BY_DIGEST.exec(reference) ?? [];
  for (const name of new Set([reference, digest])) {
    const answer = await engine.call("GET", `/images/${encodeURIComponent(name)}/json`);
    if (answer.status === 200) return factsOf(answer.body as ImageAnswer);
    if (answer.status !== 404) {
      throw new GateError(
        "ERR_SANDBOX_START",
        `docker cannot look at \`${reference}\`: ${messageOf(answer)}`,
      );
    }
  }
  throw new GateError("ERR_CONTROL_UNAVAILABLE", `docker has no image \`${reference}\`, and none is pulled`, {
    remedy: `docker pull ${reference}`,
  });
}

function factsOf({ Id, Config }: ImageAnswer): ImageFacts {
  return {
    id: Id,
    variables: (Config?.Env ?? []).map((entry) => entry.split("=")[0] ?? ""),
    volumes: Object.keys(Config?.Volumes ?? {}).sort(),
  };
}
