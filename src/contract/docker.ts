/** As trusted configuration has it under `sandbox.docker`. */
export interface DockerSettings {
  /** The daemon's Unix socket. */
  readonly socket: string;
  /** For tools whose root file system is the host's, which a container cannot have: `NAME@sha256:…` or `sha256:…`. */
  readonly image?: string;
  /** One of the daemon's runtimes. */
  readonly runtime: string;
}

export const DEFAULT_DOCKER: DockerSettings = { socket: "/run/docker.sock", runtime: "runc" };
