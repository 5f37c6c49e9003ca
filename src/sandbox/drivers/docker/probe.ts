import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { DockerSettings } from "../../../contract/docker.ts";
import { GateError } from "../../../contract/errors.ts";
import type { Diagnosis } from "../../driver.ts";
import { readDaemon, requireRuntime } from "./daemon.ts";
import type { Engine } from "./engine.ts";
import { findImage, imageReference } from "./image.ts";
import { findKit } from "./init.ts";

/** Whether a container can be had here: daemon, runtime, the launcher's shell, and the configured image if there is one. */
export async function probeDocker(
  engine: Engine,
  settings: DockerSettings,
  installed: boolean = isInstalled("dockerd"),
): Promise<Diagnosis> {
  try {
    const daemon = await readDaemon(engine);
    requireRuntime(daemon, settings.runtime);
    await findKit();
    const { image } = settings;
    if (image !== undefined) await findImage(engine, imageReference({ from: "host" }, image));
    const found = image === undefined ? "no image for tools that name none" : `image ${image}`;
    return { usable: true, detail: `docker ${daemon.version}, runtime ${settings.runtime}, ${found}` };
  } catch (error) {
    if (!existsSync(settings.socket) && !installed) {
      return { usable: false, detail: "docker is not installed", remedy: "apt-get install docker.io" };
    }
    return diagnosisOf(error);
  }
}

function diagnosisOf(error: unknown): Diagnosis {
  const detail = error instanceof Error ? error.message : String(error);
  const remedy =
    (error instanceof GateError ? error.remedy : undefined) ?? "run `docker info` to see what it says";
  return { usable: false, detail, remedy };
}

function isInstalled(program: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
