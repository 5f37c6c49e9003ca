import type { Probe } from "../probe.ts";
import { perl } from "../program.ts";

function shows(id: string, title: string, characters: string): Probe {
  return {
    id: `terminal.${id}`,
    title,
    judgesShown: true,
    program: perl(`binmode STDOUT; print "${characters}\\n"`),
  };
}

/** The control characters of ECMA-48, xterm and Unicode (UAX 9), as UTF-8. */
export const TERMINAL_PROBES: readonly Probe[] = [
  shows("clipboard", "writes to the reader's clipboard (OSC 52)", "\\e]52;c;cm0gLXJmIC8=\\a"),
  shows("title", "changes the title of the reader's window (OSC 0)", "\\e]0;root\\e\\\\"),
  shows(
    "link",
    "shows a link under another name (OSC 8)",
    "\\e]8;;http://evil.example\\e\\\\good\\e]8;;\\e\\\\",
  ),
  shows("erase", "erases what stands above it (CSI 2J, cursor up)", "\\e[2J\\e[1A"),
  shows("answerback", "makes the terminal type an answer (CSI 6n, DECRQSS)", "\\e[6n\\eP\\$qm\\e\\\\"),
  shows("c1", "uses one-character forms of the same (C1)", "\\xc2\\x9b2J\\xc2\\x9d52;c;eA==\\xc2\\x9c"),
  shows(
    "bidi",
    "turns the direction of text around, so that code reads as something else",
    "\\xe2\\x80\\xaetxt.exe\\xe2\\x81\\xa6",
  ),
  shows("invisible", "writes what nobody sees (zero width, tags)", "a\\xe2\\x80\\x8bb\\xf3\\xa0\\x81\\x81"),
  shows("nul", "writes NUL and bell", "a\\0b\\x07"),
  {
    id: "terminal.input",
    title: "types into the terminal of whoever runs it (TIOCSTI)",
    program: perl(`my $child = fork; if (!$child) { sys('setsid');
  open my $m, '+<', '/dev/ptmx' or exit; my $no = pack('l', 0); ioctl $m, 0x40045431, $no; my $n = pack('l', 0); ioctl $m, 0x80045430, $n;
  open my $t, '+<', '/dev/pts/' . unpack('l', $n) or exit; ioctl $t, 0x540e, 0; my $c = 'x'; reached('a character was typed') if ioctl $t, 0x5412, $c; exit }
waitpid $child, 0`),
    ownKernel: "a terminal inside gVisor is the sentry's own",
  },
  {
    id: "terminal.controlling",
    title: "opens the terminal of whoever runs the gate (/dev/tty, /dev/console)",
    program: perl(
      `for (qw(/dev/tty /dev/console /dev/tty0 /dev/tty1)) { reached("$_ can be opened") if opens('+<', $_) }`,
    ),
    ownKernel: "a terminal inside gVisor is the sentry's own",
  },
];
