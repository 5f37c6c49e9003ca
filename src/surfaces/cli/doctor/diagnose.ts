import {
  CONTROLS,
  ISOLATION_CLASSES,
  type IsolationClass,
  strongerIsolation,
  TIER_MINIMUMS,
  TIERS,
  type Tier,
} from "../../../contract/tier.ts";
import {
  asRoot,
  type Cure,
  cgroupCure,
  installCommand,
  launcherCure,
  usernsCures,
} from "../../../sandbox/cure.ts";
import type { HostFacts } from "../../../sandbox/host-facts.ts";
import { LIMITED } from "../../../sandbox/limits/backend.ts";
import { count } from "../output.ts";
import { FINDING_GROUPS, type Finding, type Report, type Step } from "./finding.ts";
import type { SurveyedDriver } from "./survey.ts";

const NODE_MAJOR_MIN = 24;

/** Programs that tools often are, with the package that has them. */
export const PROGRAMS: Readonly<Record<string, string>> = { rg: "ripgrep", git: "git", jq: "jq" };

/** What was looked at; a diagnosis depends on nothing else. */
export interface Examined {
  readonly facts: HostFacts;
  readonly drivers: readonly SurveyedDriver[];
  readonly state: readonly Finding[];
  /** The least that this project asks for, whatever the tier. */
  readonly isolation: IsolationClass;
  /** The folder one stands in, and whom a sandbox around it runs as. */
  readonly root: string;
  readonly user: { readonly uid: number; readonly gid: number };
}

/** Pure: facts to findings and to what to type. */
export function diagnose(examined: Examined): Report {
  const { facts, drivers, state, isolation } = examined;
  const host = hostFindings(facts);
  const sound = [...host, ...state].every((finding) => finding.state !== "missing");
  const tiers = TIERS.map((tier) => tierFinding(tier, isolation, drivers, sound));
  const usable = tiers.every(({ name, state: is }) => is === "ok" || (name !== "low" && name !== "medium"));
  const findings = [
    ...tiers,
    ...host,
    ...drivers.map((driver) => driverFinding(facts, driver)),
    ...controlFindings(facts, drivers),
    ...limitFindings(facts),
    launcherFinding(facts),
    ...folderFindings(examined),
    ...state,
    ...programFindings(facts),
  ].toSorted((a, b) => FINDING_GROUPS.indexOf(a.group) - FINDING_GROUPS.indexOf(b.group));
  return { usable, host: hostLine(facts), findings, steps: stepsFor(examined, usable) };
}

function hostLine({ distribution, kernel, arch, uid, container, ci, wsl }: HostFacts): string {
  const { id, version } = distribution;
  const system = `${id.charAt(0).toUpperCase()}${id.slice(1)} ${version}`.trim();
  return [
    system || "an unnamed system",
    `Linux ${kernel}`,
    arch,
    uid === 0 ? "root" : `user ${uid}`,
    ...(wsl === undefined ? [] : [`WSL ${wsl}`]),
    ...(container === undefined
      ? []
      : [container === "another" ? "a container" : `a ${container} container`]),
    ...(ci === undefined ? [] : [ci === "another" ? "a CI runner" : `a runner of ${ci}`]),
  ].join(", ");
}

function hostFindings(facts: HostFacts): readonly Finding[] {
  const isNew = Number(facts.node.split(".")[0]) >= NODE_MAJOR_MIN;
  return [
    found("host", "node", isNew, `v${facts.node}`, `install Node.js ${NODE_MAJOR_MIN} or newer`),
    found(
      "host",
      "kernel",
      facts.platform === "linux",
      `${facts.platform} ${facts.kernel}, ${facts.arch}`,
      "run the gate on Linux",
    ),
  ];
}

/** Whether tools of a tier run: its isolation, every control it needs, and whether people can be asked. */
function tierFinding(
  tier: Tier,
  asked: IsolationClass,
  drivers: readonly SurveyedDriver[],
  sound: boolean,
): Finding {
  const { approvals, treeLimits } = TIER_MINIMUMS[tier];
  const isolation = strongerIsolation(TIER_MINIMUMS[tier].isolation, asked);
  const needs = `${isolation} isolation${treeLimits ? ", a cgroup" : ""}${approvals > 0 ? `, ${count(approvals, "approval")}` : ""}`;
  const name = { group: "tiers", name: tier } as const;
  if (approvals > 0) {
    return { ...name, state: "later", detail: `needs ${needs}; this version cannot ask people` };
  }
  const ofClass = drivers.filter(
    (driver) => driver.isolation.includes(isolation) && driver.controls !== undefined,
  );
  const serving = ofClass.find((driver) => lacking(tier, driver).length === 0);
  const remedy = "mend what is missing below";
  if (serving !== undefined && sound) return { ...name, state: "ok", detail: `by ${serving.name}` };
  if (serving !== undefined) {
    return { ...name, state: "missing", detail: "the host or the state folder is not fit for it", remedy };
  }
  const first = ofClass[0];
  const lack = first === undefined ? `needs ${needs}` : `not enforced: ${lacking(tier, first).join(", ")}`;
  return { ...name, state: "missing", detail: lack, remedy };
}

function lacking(tier: Tier, { controls }: SurveyedDriver): readonly string[] {
  const { controls: wanted, treeLimits } = TIER_MINIMUMS[tier];
  return [...wanted, ...(treeLimits ? LIMITED : [])].filter((name) => controls?.[name].state !== "enforced");
}

/** Tiers whose least isolation a driver gives or exceeds, with every control they need; people aside. */
export function tiersBy(driver: SurveyedDriver): readonly Tier[] {
  if (driver.controls === undefined) return [];
  const strongest = Math.max(...driver.isolation.map((name) => ISOLATION_CLASSES.indexOf(name)));
  return TIERS.filter(
    (tier) =>
      ISOLATION_CLASSES.indexOf(TIER_MINIMUMS[tier].isolation) <= strongest &&
      lacking(tier, driver).length === 0,
  );
}

function driverFinding(facts: HostFacts, driver: SurveyedDriver): Finding {
  const { name, isolation, diagnosis } = driver;
  const classes = isolation.join(", ");
  if (diagnosis.usable) {
    const tiers = tiersBy(driver).join(" ") || "no tier";
    return { group: "drivers", name, state: "ok", detail: `${classes}, for ${tiers}: ${diagnosis.detail}` };
  }
  const detail = `${classes}: ${diagnosis.detail}`;
  const remedy = curesFor(facts, driver)[0]?.command;
  return { group: "drivers", name, state: "missing", detail, ...(remedy === undefined ? {} : { remedy }) };
}

/** What makes a driver usable: where it is installed and built on user namespaces, whatever is in their way. */
function curesFor(facts: HostFacts, driver: SurveyedDriver): readonly Cure[] {
  const { name, diagnosis } = driver;
  const isInstalled = !/not installed/.test(diagnosis.detail);
  const cures = name === "bubblewrap" && isInstalled ? usernsCures(facts) : [];
  const advised = driverRemedy(facts, driver);
  if (cures.length > 0 || advised === undefined) return cures;
  return [{ command: advised, why: diagnosis.detail }];
}

/** What a driver advises, as this host says it; "ask doctor" is no advice here. */
function driverRemedy(facts: HostFacts, { diagnosis }: SurveyedDriver): string | undefined {
  const { remedy } = diagnosis;
  if (remedy === undefined || remedy.includes("callgate doctor")) return undefined;
  const [, wanted] = /^apt-get install (.+)$/.exec(remedy) ?? [];
  if (wanted !== undefined) return installCommand(facts, wanted);
  // Advice may be a sentence with a command in it; systemd's is none where it does not run.
  const [, command] = /`(systemctl [^`]+)`/.exec(remedy) ?? [];
  return command === undefined || !facts.systemd ? remedy : asRoot(facts, command);
}

/** Of the first driver that could be tried: the one that serves most calls. */
function controlFindings(facts: HostFacts, drivers: readonly SurveyedDriver[]): readonly Finding[] {
  const controls = drivers.find((driver) => driver.controls !== undefined)?.controls;
  if (controls === undefined) return [];
  return CONTROLS.map((name) => {
    const { state, evidence } = controls[name];
    const isLimit = (LIMITED as readonly string[]).includes(name);
    const cure = name === "lsm" ? lsmRemedy(facts) : isLimit ? cgroupCure(facts).command : undefined;
    return found("controls", name, state === "enforced", evidence, cure ?? "run where the kernel allows it");
  });
}

function lsmRemedy(facts: HostFacts): string {
  return facts.nativeLauncher
    ? "boot a kernel that has Landlock on: CONFIG_SECURITY_LANDLOCK, and `landlock` in its parameter lsm="
    : launcherCure(facts).command;
}

function limitFindings(facts: HostFacts): readonly Finding[] {
  return LIMITED.map((name) => {
    const home = facts.cgroups[name];
    return home === undefined
      ? found("limits", name, false, "rlimits: each process by itself", cgroupCure(facts).command)
      : found("limits", name, true, `cgroup v${home.version} in ${home.folder}`);
  });
}

function launcherFinding(facts: HostFacts): Finding {
  const detail = facts.nativeLauncher
    ? "native, with Landlock; tools reach hosts by name"
    : "bash, without Landlock; no tool reaches a host";
  return found(
    "launcher",
    facts.nativeLauncher ? "native" : "bash",
    facts.nativeLauncher,
    detail,
    launcherCure(facts).command,
  );
}

/** Whether a sandbox can be built around this very folder: its user may be one that cannot enter it. */
function folderFindings({ drivers, root, user }: Examined): readonly Finding[] {
  const here = drivers.find((driver) => driver.here !== undefined)?.here;
  if (here === undefined) return [];
  const detail = `${root}, as user ${user.uid}, group ${user.gid}`;
  if (here.built) return [found("folder", "here", true, detail)];
  const remedy = here.why.includes("Permission denied")
    ? `chmod u+rx ${root}, or run the gate as the owner of that folder`
    : (here.remedy ?? "work in another folder");
  return [found("folder", "here", false, `${detail}: ${here.why}`, remedy)];
}

function programFindings(facts: HostFacts): readonly Finding[] {
  const absent = Object.entries(PROGRAMS).filter(([name]) => !facts.programs.includes(name));
  const install = installCommand(facts, absent.map(([, wanted]) => wanted).join(" "));
  return Object.keys(PROGRAMS).map((name) => {
    const isThere = facts.programs.includes(name);
    const detail = isThere ? "in the folders a sandbox sees" : "not in the folders a sandbox sees";
    return found("programs", name, isThere, detail, install);
  });
}

function found(group: Finding["group"], name: string, ok: boolean, detail: string, remedy?: string): Finding {
  if (ok) return { group, name, state: "ok", detail };
  return { group, name, state: "missing", detail, ...(remedy === undefined ? {} : { remedy }) };
}

/** First what low and medium tools lack, then what stronger isolation and fuller evidence would take. */
function stepsFor(examined: Examined, usable: boolean): readonly Step[] {
  const { facts, drivers, state, isolation } = examined;
  const steps: Step[] = [];
  for (const { detail, remedy } of [...hostFindings(facts), ...state, ...folderFindings(examined)])
    if (remedy !== undefined) steps.push({ command: remedy, why: detail, for: "needed" });
  const ofClass = drivers.filter((driver) => driver.isolation.includes(isolation));
  const [first] = ofClass;
  if (first !== undefined && !ofClass.some((driver) => tiersBy(driver).includes("medium"))) {
    for (const cure of curesFor(facts, first)) steps.push({ ...cure, for: "needed" });
    const instead = drivers.find(
      (driver) => isStronger(driver, isolation) && tiersBy(driver).includes("medium"),
    );
    if (instead !== undefined) steps.push(insteadStep(instead));
  }
  if (usable) steps.push(...furtherSteps(facts, drivers));
  return steps.filter(({ command }, at) => steps.findIndex((step) => step.command === command) === at);
}

function isStronger({ isolation: [offered] }: SurveyedDriver, isolation: IsolationClass): boolean {
  return offered !== undefined && offered !== isolation && strongerIsolation(offered, isolation) === offered;
}

function insteadStep({ name, isolation }: SurveyedDriver): Step {
  return {
    command: `sandbox:\n  isolation: ${isolation[0]}`,
    why: `or without that: ${name} works here, and its isolation is stronger`,
    where: "in callgate.yaml",
    for: "needed",
  };
}

function furtherSteps(facts: HostFacts, drivers: readonly SurveyedDriver[]): readonly Step[] {
  const steps: Step[] = [];
  if (LIMITED.some((name) => facts.cgroups[name] === undefined))
    steps.push({ ...cgroupCure(facts), for: "more" });
  if (!facts.nativeLauncher) steps.push({ ...launcherCure(facts), for: "more" });
  for (const driver of drivers.filter(({ diagnosis }) => !diagnosis.usable)) {
    const why = `${driver.isolation.join(", ")} isolation by ${driver.name}: ${driver.diagnosis.detail}`;
    for (const cure of curesFor(facts, driver)) steps.push({ ...cure, why, for: "more" });
  }
  for (const { state, remedy } of programFindings(facts))
    if (state === "missing" && remedy !== undefined)
      steps.push({ command: remedy, why: "programs that tools often are", for: "more" });
  return steps;
}
