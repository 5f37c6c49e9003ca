import { join } from "node:path";
import type { Probe } from "../probe.ts";
import { perl, sh } from "../program.ts";
import { HOME_SECRETS, PROTECTED, type Scene } from "../scene.ts";
import { appeared, changed, modeChanged } from "../stages.ts";

const outsideSecret = (scene: Scene): { args: string[] } => ({ args: [join(scene.outside, "secret.txt")] });

const READ = sh(`cat -- "$1"`);

/** Folders no profile named. */
const UNGRANTED: readonly Probe[] = [
  {
    id: "files.read-outside",
    title: "reads a file beside the workspace by its absolute path",
    program: READ,
    stage: outsideSecret,
  },
  {
    id: "files.list-outside",
    title: "lists a folder beside the workspace",
    program: sh(`ls -- "$1"`),
    stage: (scene) => {
      scene.plant(join(scene.outside, "names", scene.secret), "");
      return { args: [join(scene.outside, "names")] };
    },
  },
  {
    id: "files.write-outside",
    title: "overwrites a file beside the workspace",
    program: sh(`echo overwritten > "$1"`),
    stage: (scene) => {
      const path = join(scene.outside, "victim.txt");
      return { args: [path], effect: changed(path) };
    },
  },
  {
    id: "files.create-outside",
    title: "makes a file in a folder beside the workspace, with the folders on the way",
    program: sh(`mkdir -p -- "\${1%/*}"; echo made > "$1"`),
    stage: (scene) => {
      const path = join(scene.outside, "start/up.sh");
      return { args: [path], effect: appeared(path) };
    },
  },
  {
    id: "files.write-read-only",
    title: "overwrites a file of a folder it may only read",
    grant: "read",
    program: sh(`chmod u+w readme.txt; echo overwritten > readme.txt; rm -f readme.txt`),
    stage: (scene) => ({ effect: changed(join(scene.workspace, "readme.txt")) }),
  },
  {
    id: "files.remount-read-only",
    title: "remounts a folder it may only read, and writes to it",
    grant: "read",
    outside: "mapped",
    program: sh(`mount -o remount,bind,rw . 2>/dev/null; echo overwritten > readme.txt`),
    stage: (scene) => ({ effect: changed(join(scene.workspace, "readme.txt")) }),
  },
];

const SECRETS: readonly Probe[] = [
  ...Object.entries(HOME_SECRETS).map(
    ([name, path]): Probe => ({
      id: `files.home-${name}`,
      title: `reads ~/${path} in a home folder that was opened to it`,
      together: "home",
      grant: (scene) => ({ read: [scene.home], write: ["."] }),
      program: READ,
      stage: (scene) => ({ args: [join(scene.home, path)] }),
    }),
  ),
  {
    id: "files.hidden-file",
    title: "reads a file of the workspace that is hidden from it",
    program: READ,
    stage: (scene) => ({ args: [join(scene.workspace, ".env")] }),
  },
  {
    id: "files.hidden-folder",
    title: "reads a file below a folder that is hidden from it",
    program: READ,
    stage: (scene) => ({ args: [join(scene.workspace, "private/key")] }),
  },
  {
    id: "files.hidden-moved",
    title: "moves a hidden folder to another name and reads it there",
    program: sh("mv private public; mv .env env; cat public/key env private/key"),
  },
  {
    id: "files.hidden-parent-moved",
    title: "moves the parent of a hidden folder to another name and reads it there",
    program: sh("mv conf other; cat other/keys/key conf/keys/key"),
    stage: (scene) => {
      scene.plant(join(scene.workspace, "conf/keys/key"), scene.secret);
      return { hide: ["conf/keys"] };
    },
  },
  {
    id: "files.hidden-unmounted",
    title: "takes the cover off a hidden file with umount, and reads it",
    outside: "mapped",
    program: sh("umount -l .env private 2>/dev/null; cat .env private/key"),
  },
];

/** What runs, or is obeyed, outside the sandbox the next time somebody works there. */
const GUARDED: readonly Probe[] = [
  ...PROTECTED.map(
    (path): Probe => ({
      id: `files.protected-${protectedName(path)}`,
      title: `overwrites, or removes, ${path} in a workspace it may write`,
      program: sh(`echo overwritten > "$1"; rm -f -- "$1"; echo new > "$1"`),
      stage: (scene) => ({ args: [path], effect: changed(join(scene.workspace, path)) }),
    }),
  ),
  ...PROTECTED.map(
    (path): Probe => ({
      id: `files.absent-${protectedName(path)}`,
      title: `makes ${path} where there was none, in a workspace it may write`,
      program: sh(`mkdir -p -- "$(dirname -- "$1")"; echo made > "$1"`),
      stage: (scene) => {
        const top = path.startsWith(".git/") ? path : (path.split("/")[0] ?? path);
        scene.remove(join(scene.workspace, path.endsWith("pre-commit") ? ".git/hooks" : top));
        return { args: [path], effect: appeared(join(scene.workspace, path)) };
      },
    }),
  ),
  {
    id: "files.protected-mode",
    title: "makes a file below .git/hooks a program by its mode",
    program: sh("chmod 777 .git/hooks/pre-commit"),
    stage: (scene) => {
      const hook = join(scene.workspace, ".git/hooks/pre-commit");
      return { effect: modeChanged(hook) };
    },
  },
  {
    id: "files.new-hook",
    title: "adds a hook beside those that are there",
    program: sh("echo made > .git/hooks/post-checkout"),
    stage: (scene) => ({ effect: appeared(join(scene.workspace, ".git/hooks/post-checkout")) }),
  },
  {
    id: "files.protected-parent-moved",
    title: "moves .git aside and puts another with its own hooks in its place",
    program: sh(
      "mv .git gone; mkdir -p .git/hooks; echo made > .git/hooks/pre-commit; echo ran > .git/config",
    ),
    stage: (scene) => ({ effect: changed(join(scene.workspace, ".git/hooks/pre-commit")) }),
  },
  {
    id: "files.protected-parent-exchanged",
    title: "exchanges .git with a prepared folder in one step (renameat2)",
    program: perl(`mkdir 'prepared'; mkdir 'prepared/hooks'; spill('prepared/hooks/pre-commit', "made\\n");
sys('renameat2', -100, '.git', -100, 'prepared', 2);`),
    stage: (scene) => ({ effect: changed(join(scene.workspace, ".git/hooks/pre-commit")) }),
  },
  {
    id: "files.protected-covered",
    title: "renames a prepared file over callgate.yaml",
    program: sh("echo made > prepared; mv -f prepared callgate.yaml; mv -f prepared .mcp.json"),
    stage: (scene) => ({ effect: changed(join(scene.workspace, "callgate.yaml")) }),
  },
];

function protectedName(path: string): string {
  return path.replaceAll(/[^a-z]+/gi, "-").replace(/^-/, "");
}

export const FILE_PROBES: readonly Probe[] = [...UNGRANTED, ...SECRETS, ...GUARDED];
