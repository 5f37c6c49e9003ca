import { harmless } from "../surfaces/cli/terminal.ts";
import { attack } from "./attack.fixture.ts";
import { openSelftest } from "./run.ts";

await attack(openSelftest({ show: harmless }));
