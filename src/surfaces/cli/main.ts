import { Command, CommanderError } from "commander";
import { GateError } from "../../contract/errors.ts";
import type { CliContext, Register } from "./context.ts";
import { reportError } from "./report.ts";
import { processTerminal } from "./terminal.ts";

/** Every command, by name, with the line that `--help` shows and where its code is. Loaded when it is called. */
const COMMANDS: Readonly<
  Record<string, { readonly summary: string; readonly load: () => Promise<Register> }>
> = {
  demo: {
    summary: "what the gate does, in some seconds and with no configuration",
    load: async () => (await import("./commands/demo.ts")).registerDemo,
  },
  init: {
    summary: "write a commented callgate.yaml, tools and policies, and trust them",
    load: async () => (await import("./commands/init.ts")).registerInit,
  },
  trust: {
    summary: "pin this project's configuration by digest; show what changed since",
    load: async () => (await import("./commands/trust.ts")).registerTrust,
  },
  run: {
    summary: "one catalogued tool through all four stages",
    load: async () => (await import("./commands/run.ts")).registerRun,
  },
  exec: {
    summary: "one command through all four stages",
    load: async () => (await import("./commands/exec.ts")).registerExec,
  },
  check: {
    summary: "the decision on a call and why, running nothing",
    load: async () => (await import("./commands/check.ts")).registerCheck,
  },
  why: {
    summary: "why a call was refused or stopped, and what would permit it",
    load: async () => (await import("./commands/why.ts")).registerWhy,
  },
  tools: {
    summary: "the catalogue: list, show, lock, diff",
    load: async () => (await import("./commands/tools.ts")).registerTools,
  },
  policy: {
    summary: "policies: check, test, schema",
    load: async () => (await import("./commands/policy.ts")).registerPolicy,
  },
  log: {
    summary: "the record: show, verify, receipt, export",
    load: async () => (await import("./commands/log.ts")).registerLog,
  },
  receipt: {
    summary: "verify one receipt offline",
    load: async () => (await import("./commands/receipt.ts")).registerReceipt,
  },
  doctor: {
    summary: "what this host can enforce, and the command that adds what is missing",
    load: async () => (await import("./commands/doctor.ts")).registerDoctor,
  },
  selftest: {
    summary: "try to escape from every sandbox this host has, probe by probe",
    load: async () => (await import("./commands/selftest.ts")).registerSelftest,
  },
};

/**
 * The command line. Returns the exit code; throws nothing.
 * @param argv the words after `callgate`
 */
export async function main(argv: readonly string[]): Promise<number> {
  const context: CliContext = { terminal: processTerminal(), exitCode: 0 };
  const program = createProgram();
  const name = commandOf(argv);
  if (name === undefined && argv.includes("--version")) {
    context.terminal.out(`${(await import("./package-version.ts")).packageVersion()}\n`);
    return 0;
  }
  try {
    for (const [known, { summary, load }] of Object.entries(COMMANDS)) {
      if (known === name) (await load())(program, context);
      else program.command(known, { hidden: false }).summary(summary).description(summary);
    }
    await program.parseAsync(argv, { from: "user" });
    return context.exitCode;
  } catch (error) {
    const json = wantsJson(argv);
    if (!(error instanceof CommanderError)) return reportError(context.terminal, error, { json });
    if (error.exitCode === 0) return 0;
    // Asked for nothing, it has shown its help on standard error.
    const fault = usageFault(error, name);
    return error.code === "commander.help" && !json
      ? fault.exitCode
      : reportError(context.terminal, fault, { json });
  }
}

/** What commander found, with what to do about it. */
function usageFault({ message }: CommanderError, name: string | undefined): GateError {
  const [what = "", suggestion] = message.replace(/^error: /, "").split("\n");
  const meant = /^\(Did you mean (?:one of )?(.+)\?\)$/.exec(suggestion ?? "")?.[1];
  const help = name !== undefined && name in COMMANDS ? `callgate ${name} --help` : "callgate --help";
  return new GateError("ERR_USAGE", what.replaceAll("'", "`"), {
    remedy: meant === undefined ? `\`${help}\` shows how, with an example` : `did you mean \`${meant}\`?`,
  });
}

function createProgram(): Command {
  return (
    new Command("callgate")
      .description("A gate for tool calls: each is judged, entitled, confined and recorded, or nothing runs")
      .option("--config <FILE>", "the callgate.yaml to use (CALLGATE_CONFIG)")
      .option("--state <DIR>", "the state folder: log, keys, trust (CALLGATE_STATE)")
      .option("--json", "the result as JSON on standard output")
      .option("--quiet", "nothing but the tool's own output")
      .helpOption("-h, --help", "how to use it, with an example")
      .showSuggestionAfterError()
      // Told as every other fault is, once it is caught.
      .configureOutput({ outputError: () => undefined })
      .exitOverride()
      .addHelpText("after", "\nStart here:\n  callgate demo\n  callgate exec -- ls\n")
  );
}

/** After `--` the words are a tool's own. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

/** The first word that is not a flag or a flag's value: what is loaded. */
function commandOf(argv: readonly string[]): string | undefined {
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? "";
    if (word === "--config" || word === "--state") i += 1;
    else if (word === "help") return argv[i + 1];
    else if (!word.startsWith("-")) return word;
  }
  return undefined;
}
