import { renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Probe } from "../probe.ts";
import { perl, sh } from "../program.ts";
import { PLANTED } from "../scene.ts";
import { changed } from "../stages.ts";

const READ = sh(`cat -- "$@"`);

/** Links and odd names that lead out of what was granted. */
const LINKS: readonly Probe[] = [
  {
    id: "links.read-through-link",
    title: "reads through a link in the workspace that leads out of it",
    program: READ,
    stage: (scene) => {
      scene.link(join(scene.workspace, "out"), join(scene.outside, "secret.txt"));
      return { args: ["out"] };
    },
  },
  {
    id: "links.write-through-link",
    title: "writes through a link it made itself to a file beside the workspace",
    program: sh(`ln -s -- "$1" out; echo overwritten > out`),
    stage: (scene) => {
      const path = join(scene.outside, "victim.txt");
      return { args: [path], effect: changed(path) };
    },
  },
  {
    id: "links.folder-link",
    title: "walks through a link to a folder beside the workspace",
    program: sh(`ln -s -- "$1" out; cat out/secret.txt; cd out && cat secret.txt`),
    stage: ({ outside }) => ({ args: [outside] }),
  },
  {
    id: "links.dot-dot",
    title: "goes up from its working directory",
    program: sh(
      `cat ../outside/secret.txt; cd .. && cat outside/secret.txt; cat /proc/self/cwd/../outside/secret.txt`,
    ),
  },
  {
    id: "links.proc-self-root",
    title: "reads through /proc/self/root and /proc/PID/root",
    program: sh(`for p in self thread-self 1 $PPID; do cat "/proc/$p/root$1"; done`),
    stage: ({ outside }) => ({ args: [join(outside, "secret.txt")] }),
  },
  {
    id: "links.proc-cwd",
    title: "reads through the working directory of every process it sees",
    program: sh(
      `for p in /proc/[0-9]*; do cat "$p/cwd/outside/secret.txt" "$p/cwd/../outside/secret.txt"; done 2>/dev/null`,
    ),
  },
  {
    id: "links.hardlink-out",
    title: "makes a hard link to a file beside the workspace and reads it",
    program: sh(`ln -- "$1" mine; cat mine`),
    stage: ({ outside }) => ({ args: [join(outside, "secret.txt")] }),
  },
  {
    id: "links.hardlink-protected",
    title: "makes a hard link to a protected file and writes through it",
    program: sh("ln .git/config mine; echo overwritten > mine; ln -f mine callgate.yaml"),
    stage: ({ workspace }) => ({ effect: changed(join(workspace, ".git/config")) }),
  },
  {
    id: "links.hardlink-hidden",
    title: "makes a hard link to a hidden file and reads that",
    program: sh("ln .env mine; ln private/key mine-too; cat mine mine-too"),
  },
  {
    id: "links.granted-link",
    title: "is granted a name in the workspace that is a link out of it",
    grant: () => ({ read: ["out"] }),
    mayBeRefused: true,
    program: READ,
    stage: (scene) => {
      scene.link(join(scene.workspace, "out"), scene.outside);
      return { args: [join(scene.workspace, "out/secret.txt"), join(scene.outside, "secret.txt")] };
    },
  },
  {
    id: "links.hidden-by-link",
    title: "reads a file whose hiding was asked for by way of a link",
    program: READ,
    stage: (scene) => {
      scene.plant(join(scene.workspace, "keys/key"), scene.secret);
      scene.link(join(scene.workspace, "alias"), "keys");
      return { hide: ["alias/key"], args: ["keys/key", "alias/key"] };
    },
  },
  {
    id: "links.inherited-folder",
    title: "reads through a folder that whoever started the gate left open, by its descriptor",
    program: perl(`for my $n (0 .. 63) { print slurp("/proc/self/fd/$n/outside/secret.txt");
  for my $p (1, getppid) { print slurp("/proc/$p/fd/$n/outside/secret.txt") }
  my $at = sys('openat', $n, 'outside/secret.txt', 0, 0); if ($at >= 0) { open my $f, '<&=', $at; print <$f> } }`),
    stage: ({ base }) => ({ inherits: base }),
  },
  {
    id: "links.openat-walk",
    title: "walks up from a descriptor of a folder, past its working directory",
    program: perl(`opendir my $d, '.'; my $fd = sys('openat', -100, '.', 0200000, 0);
my $at = sys('openat', $fd, '../outside/secret.txt', 0, 0);
if ($at >= 0) { open my $f, '<&=', $at; print <$f> }
sys('fchdir', $fd); chdir '..'; print slurp('outside/secret.txt');`),
  },
];

/** Somebody changes the tree between the judgement, the mount and the release. */
const RACES: readonly Probe[] = [
  {
    id: "links.swapped-before-mount",
    title: "has the folder it may write swapped for a link between the check and the mount",
    grant: () => ({ write: ["out"] }),
    mayBeRefused: true,
    program: sh("echo overwritten > out/victim.txt; cat out/secret.txt"),
    stage: (scene) => {
      const out = join(scene.workspace, "out");
      scene.folder(out);
      return {
        beforeOpen: () => swap(out, scene.outside),
        effect: changed(join(scene.outside, "victim.txt")),
      };
    },
  },
  {
    id: "links.swapped-after-mount",
    title: "has the folder it may write swapped for a link while the sandbox waits",
    grant: () => ({ write: ["out"] }),
    mayBeRefused: true,
    program: sh("echo overwritten > out/victim.txt; cat out/secret.txt"),
    stage: (scene) => {
      const out = join(scene.workspace, "out");
      scene.folder(out);
      return {
        whileWaiting: () => swap(out, scene.outside),
        effect: changed(join(scene.outside, "victim.txt")),
      };
    },
  },
  {
    id: "links.parent-swapped-before-mount",
    title: "has a parent of the folder it may write swapped for a link before the mount",
    grant: () => ({ write: ["deep/out"] }),
    mayBeRefused: true,
    program: sh("echo overwritten > deep/out/victim.txt; cat deep/out/secret.txt"),
    stage: (scene) => {
      scene.folder(join(scene.workspace, "deep/out"));
      const trap = join(scene.base, "trap");
      scene.folder(trap);
      scene.link(join(trap, "out"), scene.outside);
      return {
        beforeOpen: () => swap(join(scene.workspace, "deep"), trap),
        effect: changed(join(scene.outside, "victim.txt")),
      };
    },
  },
  {
    id: "links.hidden-renamed-away",
    title: "reads a hidden file that somebody renames while the sandbox waits",
    mayBeRefused: true,
    program: sh("cat .env .env.old"),
    stage: ({ workspace }) => ({
      whileWaiting: () => renameSync(join(workspace, ".env"), join(workspace, ".env.old")),
    }),
  },
  {
    id: "links.hidden-replaced",
    title: "reads a hidden file that an editor saves anew while the sandbox waits",
    mayBeRefused: true,
    program: sh("cat .env"),
    stage: (scene) => ({
      whileWaiting: () => {
        scene.plant(join(scene.workspace, ".env.new"), scene.secret);
        renameSync(join(scene.workspace, ".env.new"), join(scene.workspace, ".env"));
      },
    }),
  },
  {
    id: "links.hidden-dangling",
    title: "reads a file that was to be hidden and appears only while the sandbox waits",
    mayBeRefused: true,
    program: sh("cat later.key"),
    stage: (scene) => ({
      hide: ["later.key"],
      whileWaiting: () => scene.plant(join(scene.workspace, "later.key"), scene.secret),
    }),
  },
  {
    id: "links.hidden-dangling-link",
    title: "reads the target of a hidden link that led nowhere when the sandbox was built",
    mayBeRefused: true,
    program: sh("cat current later.key"),
    stage: (scene) => {
      scene.link(join(scene.workspace, "current"), "later.key");
      return {
        hide: ["current"],
        whileWaiting: () => scene.plant(join(scene.workspace, "later.key"), scene.secret),
      };
    },
  },
  {
    id: "links.protected-replaced",
    title: "writes a hook after somebody moves .git/hooks and makes it anew while the sandbox waits",
    mayBeRefused: true,
    program: sh("echo overwritten > .git/hooks/pre-commit"),
    stage: (scene) => {
      const hooks = join(scene.workspace, ".git/hooks");
      return {
        whileWaiting: () => {
          renameSync(hooks, `${hooks}.old`);
          scene.plant(join(hooks, "pre-commit"), PLANTED);
        },
        effect: changed(join(hooks, "pre-commit")),
      };
    },
  },
  {
    id: "links.protected-parent-replaced",
    title: "writes a hook after somebody moves .git aside and puts another there while the sandbox waits",
    mayBeRefused: true,
    program: sh("echo overwritten > .git/hooks/pre-commit"),
    stage: (scene) => {
      const git = join(scene.workspace, ".git");
      return {
        whileWaiting: () => {
          renameSync(git, `${git}.old`);
          scene.plant(join(git, "hooks/pre-commit"), PLANTED);
        },
        effect: changed(join(git, "hooks/pre-commit")),
      };
    },
  },
];

function swap(path: string, target: string): void {
  renameSync(path, `${path}.was`);
  symlinkSync(target, path);
}

export const LINK_PROBES: readonly Probe[] = [...LINKS, ...RACES];
