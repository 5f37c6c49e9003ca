// A gateway that is killed with SIGKILL at the Nth call that changes a file system while it applies what a tool did.
import { newCallId } from "../../contract/ids.ts";
import type { Profile } from "../../contract/profile.ts";
import { faultAt } from "./fault.fixture.ts";
import { changeAll, SUCCESS } from "./staged.fixture.ts";
import { stageWrites } from "./staged.ts";

const [tree = "", folder = "", at = "0"] = process.argv.slice(2);
const profile = {
  files: { read: [], write: [tree], hide: [], protect: [], staged: true },
} as unknown as Profile;
const user = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const staged = await stageWrites(profile, { folder, user, call: newCallId() });
changeAll(staged.copyOf(tree));
faultAt(Number(at), () => process.kill(process.pid, "SIGKILL"));
const { state } = await staged.settle(SUCCESS);
// The outcome would be recorded here; then the rest is cleared up.
process.stdout.write(`${state}\n`);
staged.finish();
await staged[Symbol.asyncDispose]();
