import { encodeRequest } from "../launcher.ts";
import { NEW_LISTENER } from "./explain-program.ts";
import type { SeccompArch } from "./profile.ts";
import { syscallNumber } from "./resolve.ts";

export const PERL = "/usr/bin/perl";
export const EPERM = 1;
/** include/uapi/linux/prctl.h: a supervisor ends with the gateway, whatever ends that. */
export const PR_SET_PDEATHSIG = 1;
/**
 * include/uapi/linux/seccomp.h, Linux 5.19: once a supervisor has a call, only a fatal signal ends the wait. Without it
 * each signal begins the call anew, and programs that send themselves many (Go) would come no further. A signal before
 * the supervisor has the call still ends it, with EINTR where the handler wants no restart (signal(7)).
 */
const WAIT_KILLABLE = 0x20;

/** What the stage exits with before the tool is there. */
export const STAGE_EXITS = { unloaded: 125, unexecutable: 126, absent: 127 } as const;

/**
 * Runs inside, between the launcher and the tool: looks whether there is such a program, loads a filter with a listener
 * (which closes on exec), waits in a call that the supervisor has to answer, and becomes the tool. It is itself started
 * with no environment: a variable such as LD_PRELOAD would else run the tool's code before that filter.
 */
const STAGE = `
my ($seccomp, $unshare, $program, $count) = splice @ARGV, 0, 4;
my %variables = map { split /=/, $_, 2 } splice @ARGV, 0, $count;
my @places = index($ARGV[0], '/') >= 0 ? $ARGV[0] : map { "$_/$ARGV[0]" } split /:/, $variables{PATH} // '/usr/bin:/bin';
grep { -e } @places or exit ${STAGE_EXITS.absent};
grep { -f && -x } @places or exit ${STAGE_EXITS.unexecutable};
$program = pack 'H*', $program;
my $filter = pack 'S x6 P', length($program) / 8, $program;
syscall($seccomp + 0, 1, ${NEW_LISTENER | WAIT_KILLABLE}, $filter) >= 0
  or syscall($seccomp + 0, 1, ${NEW_LISTENER}, $filter) >= 0 or exit ${STAGE_EXITS.unloaded};
($unshare ? syscall($unshare + 0, 0) < 0 && $! == ${EPERM} : stat '/') or exit ${STAGE_EXITS.unloaded};
%ENV = %variables;
exec { $ARGV[0] } @ARGV;
print STDERR "callgate: $ARGV[0]: $!\\n";
exit ${STAGE_EXITS.unexecutable};
`;

/**
 * What the launcher is given instead of the tool.
 * @param waitsIn `unshare`, which the filter asks about and everybody refuses; or `stat`, which it asks about
 */
export function stagedRequest(
  arch: SeccompArch,
  stage: { readonly program: Uint8Array; readonly waitsIn: "unshare" | "stat" },
  environment: Readonly<Record<string, string>>,
  argv: readonly string[],
): Uint8Array {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const unshare = stage.waitsIn === "unshare" ? syscallNumber(arch, "unshare") : 0;
  const numbers = [syscallNumber(arch, "seccomp"), unshare].map(String);
  const program = Buffer.from(stage.program).toString("hex");
  const words = [...numbers, program, String(variables.length), ...variables, ...argv];
  return encodeRequest({}, [PERL, "-e", STAGE, "--", ...words]);
}
