import { existsSync } from "node:fs";
import { join } from "node:path";
import { ExecInput } from "../../../catalog/exec-input.ts";
import { parseDocument } from "../../../config/document.ts";
import { type PolicyTest, runPolicyTests } from "../../../intent/policy-test.ts";
import type { LoadedProject } from "../../../load-project.ts";
import { presetFor } from "../presets.ts";
import { type CallStep, elapsedMs, type Finding, ran, refused, requireSandbox } from "./step.ts";

/** Gives the copy its git history. A gateway never runs git on a repository outside of a sandbox, nor does its demo. */
export function historyStep(workspace: string): CallStep {
  const { environment } = presetFor("git");
  const command = ["sh", "make-history.sh"];
  const git = ran(({ exitCode }) => (exitCode === 0 ? "a git repository of five commits" : undefined));
  return {
    id: "make-history",
    asked: command.join(" "),
    request: {
      tool: "callgate.exec",
      input: new ExecInput({
        command,
        // Named, since what git runs by itself is otherwise protected, and cannot be made either.
        write: [workspace, join(workspace, ".git")],
        workingDirectory: workspace,
        environment,
      }),
    },
    expect: (result) => {
      requireSandbox(result);
      const isMissing = /git: (?:command )?not found/.test(result.stderr);
      return isMissing ? { verdict: "skipped", happened: "git is not here: install git" } : git(result);
    },
  };
}

/** Calls that are permitted, and calls that never get as far as a sandbox. */
export function judgedSteps(workspace: string): readonly CallStep[] {
  return [...permittedSteps(workspace), ...refusedSteps()];
}

function permittedSteps(workspace: string): readonly CallStep[] {
  return [
    {
      id: "search",
      asked: "TODO in src",
      request: { tool: "repo.search", input: { pattern: "TODO", path: "src" } },
      needs: "rg is not here: install ripgrep",
      expect: ran(({ stdout }) => {
        const lines = stdout.trimEnd().split("\n");
        return lines.length === 2 ? `2 lines, the first at ${lines[0]?.split(":", 2).join(":")}` : undefined;
      }),
    },
    {
      id: "history",
      asked: "the latest commit",
      request: { tool: "repo.history", input: { count: 1 } },
      needs: "git is not here: install git",
      expect: ran(({ stdout }) =>
        stdout.endsWith("Put a gate before the tools\n") ? stdout.trimEnd().slice(8) : undefined,
      ),
    },
    {
      id: "json",
      asked: ".lines[].name of the timetable",
      request: { tool: "json.query", input: { filter: "[.lines[].name]", file: "data/timetable.json" } },
      needs: "jq is not here: install jq",
      expect: ran(({ structured }) =>
        Array.isArray(structured) && structured.length === 3 ? structured.join(", ") : undefined,
      ),
    },
    {
      id: "tests",
      asked: "the project's tests",
      request: { tool: "tests.run", input: {} },
      needs: "this Node lies where a sandbox's user cannot go",
      expect: ran(({ exitCode, stdout }) => {
        const passed = /^\S+ pass (\d+)$/m.exec(stdout)?.[1];
        return exitCode === 0 && passed === "5" ? "5 passed" : undefined;
      }),
    },
    {
      id: "write",
      asked: "notes/today.md",
      request: { tool: "file.write", input: { path: "notes/today.md", text: "The 09:00 was late.\n" } },
      expect: ran(({ exitCode }) =>
        exitCode === 0 && existsSync(join(workspace, "notes/today.md")) ? "written" : undefined,
      ),
    },
    {
      id: "no-shell",
      asked: "a pattern: x; touch pwned",
      request: { tool: "repo.search", input: { pattern: "x; touch pwned", path: "src" } },
      needs: "rg is not here: install ripgrep",
      // ripgrep exits 1 where nothing matches.
      expect: ran(({ exitCode, stdout }) =>
        exitCode === 1 && stdout === "" && !existsSync(join(workspace, "pwned"))
          ? "one argument, no shell: nothing found, nothing made"
          : undefined,
      ),
    },
  ];
}

function refusedSteps(): readonly CallStep[] {
  return [
    {
      id: "refused-by-schema",
      asked: "version 1.0.0; rm -rf /",
      request: { tool: "service.deploy", input: { service: "timetable", version: "1.0.0; rm -rf /" } },
      expect: refused("ERR_INPUT_SCHEMA"),
    },
    {
      id: "refused-path",
      asked: "../../etc/passwd",
      request: { tool: "json.query", input: { filter: ".", file: "../../etc/passwd" } },
      expect: refused("ERR_PATH_OUTSIDE"),
    },
    {
      id: "refused-option",
      asked: "a filter: --from-file",
      request: { tool: "json.query", input: { filter: "--from-file", file: "data/timetable.json" } },
      expect: refused("ERR_INPUT_OPTION_LIKE"),
    },
    {
      id: "refused-by-policy",
      asked: "deploy/deploy.js",
      request: { tool: "file.write", input: { path: "deploy/deploy.js", text: "" } },
      expect: refused("ERR_FORBIDDEN", ["deployment-changes-by-review"]),
    },
    {
      id: "refused-without-approvals",
      asked: "timetable 1.0.0 to staging",
      request: { tool: "service.deploy", input: { service: "timetable", version: "1.0.0" } },
      expect: refused("ERR_OBLIGATION_UNMET", ["deploy-with-two-approvals"]),
    },
  ];
}

/** What the policies would say to callers who are not here: pull requests' jobs, agents, other branches. */
export async function policyTests({ project, catalog, policies }: LoadedProject): Promise<Finding> {
  const started = performance.now();
  const { environment, session } = project.settings;
  const tests = [...project.policyTests].flatMap(
    ([file, text]) => parseDocument(text, file).value as unknown as PolicyTest[],
  );
  const options = { tools: [...catalog.tools.values()], policies, environment, depthMax: session.depthMax };
  const results = await runPolicyTests(options, tests);
  const failed = results.filter(({ passed }) => !passed);
  const ok = failed.length === 0 && results.length > 0;
  return {
    id: "policy-tests",
    subject: "policy test",
    asked: "a fork's job deploying, and others",
    verdict: ok ? "held" : "wrong",
    happened: ok
      ? `${results.length} of ${results.length} decided as they should be`
      : failed.map(({ name, diff }) => `${name}: ${diff.join("; ")}`).join("; "),
    ms: elapsedMs(started),
  };
}
