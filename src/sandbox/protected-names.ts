/** The folder that counts who needs the stand-in for `commondir`, beside it. */
export const COMMONDIR_HOLDERS = ".callgate-commondir";

/**
 * What git acts on inside of a repository's own folder: hooks, and commands that its configuration names, at every
 * `git status` of a prompt (`core.fsmonitor`). `commondir` moves all of it elsewhere (gitrepository-layout(5)).
 */
export const GIT_NAMES: readonly string[] = [
  "hooks",
  "config",
  "config.worktree",
  COMMONDIR_HOLDERS,
  "commondir",
];

/**
 * What runs by itself: read by git, a shell, an editor, an agent or a build service without anyone asking to run the
 * project's code. A tool that may write a tree may not write these in it. What runs only when a person asks for it
 * (`package.json`, a `Makefile`, `.npmrc` beside them) is the project's code and is not listed.
 */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  git: GIT_NAMES.map((name) => `.git/${name}`),
  /** `core.hooksPath` or an installed hook points to these. */
  hooks: [".husky", ".pre-commit-config.yaml"],
  /** Run with the project's secrets after the next push. */
  builds: [".github", ".gitlab-ci.yml", ".circleci"],
  /** Tasks and containers that start when the folder is opened. */
  editors: [".vscode", ".idea", ".devcontainer"],
  /** Servers, hooks and permissions of the agent that starts here next. */
  agents: [".mcp.json", ".claude", ".cursor"],
  /** What the next call is judged and confined by. */
  ours: ["callgate.yaml", "callgate.lock"],
  /** Where the tree is somebody's home, or linked from one; `.envrc` is read on entering a folder. */
  shells: [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".profile",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".zlogout",
    ".envrc",
  ],
};

/** Relative to the root of every writable tree. */
export const PROTECTED_NAMES: readonly string[] = Object.values(GROUPS).flat();
