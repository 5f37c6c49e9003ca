import { join } from "node:path";
import type { Probe } from "../probe.ts";
import { perl, sh } from "../program.ts";
import { ownVariable } from "../stages.ts";

const state = (scene: {
  base: string;
  secret: string;
  plant: (path: string, text: string) => void;
}): string => {
  const key = join(scene.base, "state/key");
  scene.plant(key, scene.secret);
  return key;
};

export const CREDENTIAL_PROBES: readonly Probe[] = [
  {
    id: "credentials.environment",
    title: "finds a token of the gate's own environment in its own",
    program: sh("env"),
    stage: ownVariable,
  },
  {
    id: "credentials.initial-environment",
    title:
      "finds a token in the environment that it, its launcher or the sandbox's first program was started with",
    program: perl(`for my $p ($$, 1, getppid) { print slurp("/proc/$p/environ") }`),
    stage: ownVariable,
  },
  {
    id: "credentials.parents-memory",
    title: "finds a token on the stack of its launcher or of the sandbox's first program (/proc/PID/mem)",
    program:
      perl(`for my $p (1, getppid, $$) { my ($from, $to) = slurp("/proc/$p/maps") =~ /^(\\w+)-(\\w+) .*\\[stack\\]/m or next;
  open my $f, '<', "/proc/$p/mem" or next; sysseek $f, hex $from, 0; sysread $f, my $x, hex($to) - hex $from; print join "\\n", $x =~ /(secret-[0-9a-f]+)/g; print "\\n" }`),
    stage: ownVariable,
  },
  {
    id: "credentials.gate-key",
    title: "reads the gate's own signing key in a folder that was opened to it",
    grant: (scene) => ({ read: [scene.base] }),
    mayBeRefused: true,
    program: sh(`cat -- "$1"`),
    stage: (scene) => ({ args: [state(scene)] }),
  },
  {
    id: "credentials.gate-key-by-link",
    title: "reads the gate's own signing key through a link in the workspace",
    program: sh(`ln -s -- "$1" key; cat key`),
    stage: (scene) => ({ args: [state(scene)] }),
  },
  {
    id: "credentials.gate-key-writable",
    title: "replaces the gate's own files in a folder it was given to write",
    grant: (scene) => ({ write: [scene.base] }),
    mayBeRefused: true,
    program: sh(
      `cat -- "$1"; mv -- "\${1%/*}" "\${1%/*}.was"; mkdir -p "\${1%/*}"; echo made > "$1"; cat -- "\${1%/*}.was/key"`,
    ),
    stage: (scene) => ({ args: [state(scene)] }),
  },
];
