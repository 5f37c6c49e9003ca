import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gatePaths, type PathInputs, processPathInputs } from "./paths.ts";

const inputs = (change: Partial<PathInputs> = {}): PathInputs => ({
  environment: {},
  workingDirectory: "/work/p",
  home: "/home/ada",
  uid: 1000,
  ...change,
});

describe("gatePaths", () => {
  it("follows the XDG defaults under the home folder", () => {
    assert.deepEqual(gatePaths(inputs()), {
      stateDir: "/home/ada/.local/state/callgate",
      configDirs: ["/home/ada/.config/callgate", "/etc/callgate"],
      runtimeDir: "/home/ada/.local/state/callgate/run",
    });
  });

  it("follows the XDG variables", () => {
    const environment = { XDG_STATE_HOME: "/s", XDG_CONFIG_HOME: "/c", XDG_RUNTIME_DIR: "/run/user/1000" };
    assert.deepEqual(gatePaths(inputs({ environment })), {
      stateDir: "/s/callgate",
      configDirs: ["/c/callgate", "/etc/callgate"],
      runtimeDir: "/run/user/1000/callgate",
    });
  });

  it("ignores XDG variables that are relative or empty, as the specification says", () => {
    const environment = { XDG_STATE_HOME: "s", XDG_CONFIG_HOME: "", XDG_RUNTIME_DIR: "." };
    assert.deepEqual(gatePaths(inputs({ environment })), gatePaths(inputs()));
  });

  it("prefers `--state` to CALLGATE_STATE to XDG_STATE_HOME", () => {
    const environment = { XDG_STATE_HOME: "/s", CALLGATE_STATE: "/e" };
    assert.equal(gatePaths(inputs({ environment })).stateDir, "/e");
    assert.equal(gatePaths(inputs({ environment, state: "../f" })).stateDir, "/work/f");
    assert.equal(
      gatePaths(inputs({ environment: { CALLGATE_STATE: "" } })).stateDir,
      gatePaths(inputs()).stateDir,
    );
  });

  it("gives an account without a home the system's folders", () => {
    assert.deepEqual(gatePaths(inputs({ home: undefined })), {
      stateDir: "/var/lib/callgate",
      configDirs: ["/etc/callgate"],
      runtimeDir: "/run/callgate",
    });
  });
});

describe("processPathInputs", () => {
  const withHome = (home: string): string | undefined => {
    const before = process.env["HOME"];
    process.env["HOME"] = home;
    try {
      return processPathInputs().home;
    } finally {
      if (before === undefined) delete process.env["HOME"];
      else process.env["HOME"] = before;
    }
  };

  it("takes no home that system accounts are given so that they have none", () => {
    assert.equal(withHome("/"), undefined);
    assert.equal(withHome("/nonexistent"), undefined);
    assert.equal(withHome("relative"), undefined);
    assert.equal(withHome("/home/ada/"), "/home/ada");
  });
});
