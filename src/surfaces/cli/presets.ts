import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** What a toolchain needs beyond the system's folders. */
export interface Preset {
  readonly read: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** Every preset: where its toolchain lies on this host, and the variables that keep it off the network and the home. */
export const PRESETS: Readonly<Record<"node" | "python" | "rust" | "go" | "git", () => Preset>> = {
  node: (): Preset => {
    const prefix = dirname(dirname(realpathSync(process.execPath)));
    return {
      read: outsideSystem([prefix]),
      environment: {
        PATH: pathWith(join(prefix, "bin")),
        npm_config_cache: "/tmp/npm",
        npm_config_update_notifier: "false",
      },
    };
  },
  python: (): Preset => ({
    read: outsideSystem([join(homedir(), ".pyenv/versions")]),
    environment: { PYTHONDONTWRITEBYTECODE: "1" },
  }),
  rust: (): Preset => {
    const [cargo, rustup] = [join(homedir(), ".cargo"), join(homedir(), ".rustup")];
    return {
      read: outsideSystem([join(cargo, "bin"), join(cargo, "registry"), rustup]),
      environment: {
        PATH: pathWith(join(cargo, "bin")),
        RUSTUP_HOME: rustup,
        CARGO_HOME: "/tmp/cargo",
        CARGO_NET_OFFLINE: "true",
      },
    };
  },
  go: (): Preset => ({
    read: outsideSystem([join(homedir(), "go/pkg/mod")]),
    environment: {
      PATH: pathWith("/usr/local/go/bin"),
      GOCACHE: "/tmp/go-build",
      GOFLAGS: "-mod=mod",
      GOPROXY: "off",
    },
  }),
  git: (): Preset => ({
    read: [],
    environment: {
      GIT_CONFIG_NOSYSTEM: "1",
      GIT_TERMINAL_PROMPT: "0",
      GIT_OPTIONAL_LOCKS: "0",
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: "safe.directory",
      GIT_CONFIG_VALUE_0: "*",
    },
  }),
};

export function presetFor(name: keyof typeof PRESETS): Preset {
  return PRESETS[name]();
}

function outsideSystem(paths: readonly string[]): readonly string[] {
  return paths.filter((path) => existsSync(path) && !path.startsWith("/usr/") && path !== "/usr");
}

function pathWith(folder: string): string {
  return `${folder}:/usr/local/bin:/usr/bin:/bin`;
}
