import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { diagnose } from "./diagnose.ts";
import { HOST_NAMES, hostNamed } from "./hosts.fixture.ts";
import { reportText } from "./report-text.ts";

/** Set CALLGATE_GOLDEN=write to accept a change after reading it. */
function golden(name: string, text: string): void {
  const file = join(import.meta.dirname, "goldens", `${name}.txt`);
  if (process.env["CALLGATE_GOLDEN"] === "write") writeFileSync(file, text);
  assert.equal(text, readFileSync(file, "utf8"));
}

/** Of each host: whether tools run, and the first thing to type. */
const EXPECTED: Readonly<
  Record<(typeof HOST_NAMES)[number], readonly [usable: boolean, first: RegExp | undefined]>
> = {
  "debian-root": [true, undefined],
  "ubuntu-24.04-user": [false, /^sudo install -m 644 .*callgate-bwrap .* && sudo apparmor_parser -r /],
  "github-actions": [false, /^sudo install -m 644 .*callgate-bwrap /],
  "github-actions-container": [
    false,
    /^container:\n {2}options: .*seccomp=unconfined.*systempaths=unconfined/,
  ],
  "gitlab-docker": [false, /^\[runners\.docker\]\nprivileged = true/],
  docker: [false, /^docker run --security-opt seccomp=unconfined .*systempaths=unconfined …$/],
  podman: [false, /^podman run .*unmask=ALL/],
  kubernetes: [false, /^hostUsers: false\n.*procMount: Unmasked/s],
  wsl1: [false, /^wsl\.exe --set-version/],
  wsl2: [true, undefined],
  "no-user-namespaces": [false, /^sudo sysctl -w user\.max_user_namespaces=15000$/],
  "fedora-without-bubblewrap": [false, /^sudo dnf install bubblewrap$/],
};

describe("doctor on other people's hosts", () => {
  for (const name of HOST_NAMES) {
    it(name, () => {
      const report = diagnose(hostNamed(name));
      const [usable, first] = EXPECTED[name];
      assert.equal(report.usable, usable);
      const needed = report.steps.filter((step) => step.for === "needed");
      if (first === undefined) assert.deepEqual(needed, []);
      else assert.match(needed[0]?.command ?? "", first);
      golden(name, stripVTControlCharacters(reportText(report)));
    });
  }

  it("says what to type wherever something needed is missing, on each of them", () => {
    for (const name of HOST_NAMES) {
      const { usable, steps, findings } = diagnose(hostNamed(name));
      assert.equal(usable, !steps.some((step) => step.for === "needed"), name);
      for (const { state, remedy, name: what } of findings)
        if (state === "missing") assert.ok(remedy !== undefined, `${name}: ${what}`);
    }
  });

  it("offers another class where the first driver cannot run and a stronger one can", () => {
    const { steps } = diagnose(hostNamed("no-user-namespaces"));
    assert.equal(
      steps.find(({ where }) => where === "in callgate.yaml")?.command,
      "sandbox:\n  isolation: container",
    );
  });

  it("needs nothing of the first driver where another of its class serves", () => {
    const host = hostNamed("ubuntu-24.04-user");
    const [working] = hostNamed("debian-root").drivers;
    assert.ok(working !== undefined);
    const report = diagnose({ ...host, drivers: [...host.drivers, { ...working, name: "runc" }] });
    assert.equal(report.usable, true);
    assert.equal(report.findings[0]?.detail, "by runc");
    assert.deepEqual(
      report.steps.filter((step) => step.for === "needed"),
      [],
    );
    assert.match(
      report.steps.find((step) => step.why.includes("bubblewrap"))?.command ?? "",
      /apparmor_parser/,
    );
  });

  it("is satisfied by that class once the project asks for it", () => {
    const report = diagnose({ ...hostNamed("no-user-namespaces"), isolation: "container" });
    assert.equal(report.usable, true);
    assert.deepEqual(
      report.steps.filter((step) => step.for === "needed"),
      [],
    );
    assert.equal(diagnose({ ...hostNamed("debian-root"), isolation: "container" }).usable, false);
  });

  it("calls no tier ok while the state folder is unfit", () => {
    const host = hostNamed("debian-root");
    const state = [
      { group: "state", name: "folder", state: "missing", detail: "open to others", remedy: "chmod" },
    ] as const;
    const report = diagnose({ ...host, state });
    assert.equal(report.usable, false);
    assert.equal(report.steps[0]?.command, "chmod");
  });

  it("calls a tier missing whose controls are not enforced, and names them", () => {
    const host = hostNamed("debian-root");
    const [driver] = host.drivers;
    assert.ok(driver?.controls !== undefined);
    const seccomp = { state: "off", basis: "verified", evidence: "mode 0" } as const;
    const drivers = [{ ...driver, controls: { ...driver.controls, seccomp } }];
    const report = diagnose({ ...host, drivers });
    assert.equal(report.usable, false);
    assert.equal(report.findings[0]?.detail, "not enforced: seccomp");
  });
});
