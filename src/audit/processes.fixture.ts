import { newCallId } from "../contract/ids.ts";
import { intent, note, outcome, spend } from "./log.fixture.ts";
import { openLog } from "./log.ts";

/** A gateway of its own: `node processes.fixture.ts WHAT STATE_DIR MODE [NUMBER]`. Prints what it did as JSON. */

const [, , what = "", stateDir = "", modeText = "", number = "0"] = process.argv;
const mode = modeText === "worker" ? "worker" : "inline";

async function append(): Promise<unknown> {
  await using log = await openLog({ stateDir, mode });
  const indexes: number[] = [];
  const loop = async (): Promise<void> => {
    for (let i = 0; i < Number(number); i++) {
      const call = newCallId();
      const [first] = await log.append([{ record: intent(call) }, note("opened")]);
      const [last] = await log.append([{ record: outcome(call) }], { receipts: true });
      indexes.push(first?.index ?? -1, last?.index ?? -1);
    }
  };
  await Promise.all([loop(), loop(), loop()]);
  return indexes;
}

async function takeSpends(): Promise<unknown> {
  await using log = await openLog({ stateDir, mode });
  const tries = Array.from({ length: Number(number) }, () =>
    log.append([note("use")], { spend: [spend("token", 25)] }),
  );
  return (await Promise.allSettled(tries)).filter(({ status }) => status === "fulfilled").length;
}

/** Dies as it stands, with a call under way. */
async function die(): Promise<unknown> {
  const log = await openLog({ stateDir, mode });
  const call = newCallId();
  await log.append([{ record: intent(call) }, note("opened")]);
  process.stdout.write(`${JSON.stringify(call)}\n`, () => process.kill(process.pid, "SIGKILL"));
  return new Promise(() => {});
}

/** Lives on with a call under way until its input closes. */
async function linger(): Promise<unknown> {
  const log = await openLog({ stateDir, mode });
  const call = newCallId();
  await log.append([{ record: intent(call) }]);
  process.stdout.write(`${JSON.stringify(call)}\n`);
  await new Promise((resolve) => process.stdin.resume().on("end", resolve));
  await log.append([{ record: outcome(call) }]);
  await log.close();
  return null;
}

/** Ends without closing anything. */
async function leave(): Promise<unknown> {
  const log = await openLog({ stateDir, mode });
  await log.append([note("left open")]);
  return log.size();
}

async function recover(): Promise<unknown> {
  await using log = await openLog({ stateDir, mode });
  return log.recover();
}

const acts: Readonly<Record<string, () => Promise<unknown>>> = {
  append,
  takeSpends,
  die,
  linger,
  leave,
  recover,
};
console.log(JSON.stringify(await acts[what]?.()));
