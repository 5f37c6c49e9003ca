import { SYSCALLS_ARM64 } from "../sandbox/seccomp/syscalls-arm64.ts";
import { SYSCALLS_X86_64 } from "../sandbox/seccomp/syscalls-x86-64.ts";

/** An argument vector; a probe's stage adds to it. */
export interface Program {
  readonly argv: readonly string[];
}

/** Said by every program first and last: one that could not do its work must not read as one that was held. */
export const BEGAN = "began";
export const ENDED = "ended";
/** Begins a line that says what was reached. */
export const REACHED = "reached ";

/**
 * perl is in every Debian (perl-base is essential) and makes system calls by number, so no compiler is needed. What
 * comes in as an argument is a string, which `syscall` would pass as an address: `+ 0` makes it a number.
 */
const PERL_HEAD = `use strict; use Socket qw(:all); $| = 1; $SIG{PIPE} = 'IGNORE';
sub reached { print "${REACHED}@_\\n" }
sub slurp { open my $f, '<', $_[0] or return ''; local $/; my $t = <$f>; defined $t ? $t : '' }
sub spill { open my $f, '>', $_[0] or return; print $f $_[1] or return; close $f }
sub opens { my ($mode, $path) = @_; open my $f, $mode, $path or return 0; 1 }
print "${BEGAN}\\n";
`;

/** `syscall` takes no string that is a literal, since the kernel may write to it: that is handed over as a copy. */
const PERL_SYS = `sub sys { my $n = $number{shift()}; my @a = map { Internals::SvREADONLY($_) ? \\(my $copy = $_) : \\$_ } @_;
my $r; eval '$r = syscall $n, ' . join ', ', map { '\${$a[' . $_ . ']}' } 0 .. $#a; die $@ if $@; $r }`;

/** A perl program. `sys('name', …)` makes the system call of that name; on failure it gives -1. */
export function perl(text: string): Program {
  const names = [...new Set([...text.matchAll(/\bsys\('(\w+)'/g)].map(([, name = ""]) => name))];
  const table = process.arch === "arm64" ? SYSCALLS_ARM64 : SYSCALLS_X86_64;
  // A number no kernel has: the call fails, outside too, and the probe is told as not shown.
  const numbers = names.map((name) => `${name} => ${table[name] ?? 0x7fff_ff00}`).join(", ");
  const calls = names.length === 0 ? "" : `my %number = (${numbers}); ${PERL_SYS}\n`;
  return { argv: ["/usr/bin/perl", "-e", `${PERL_HEAD}${calls}${text};\nprint "${ENDED}\\n";`] };
}

/** A shell program; in each line a failure is ignored. */
export function sh(text: string): Program {
  return { argv: ["/bin/sh", "-c", `echo ${BEGAN}\n${text}\necho ${ENDED}`, "sh"] };
}

/** The same, where nothing but what `text` writes should come out: for usability. */
export function bare(text: string): Program {
  return { argv: ["/bin/sh", "-c", text, "sh"] };
}
