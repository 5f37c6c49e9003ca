export const repoSearchTemplate = `# A tool is one program with typed arguments. No shell reads them, so no value can become a second command.
name: repo.search
description: Search the files here for a regular expression
tier: low # low reads; medium may write in the workspace; high and critical need people
categories: [analysis] # policies speak of groups: Action::"category/analysis"

# JSON Schema 2020-12. What does not fit is refused before any policy is asked.
input:
  type: object
  properties:
    pattern: { type: string, maxLength: 500 }
    # Resolved inside the workspace, links followed; a path that leaves it is refused.
    path: { type: string, format: workspace-path, default: "." }
  required: [pattern]
  additionalProperties: false

run:
  # {name} fills one argument. After the \`--\` no value is read as an option.
  command: ["rg", "--line-number", "--no-config", "--", "{pattern}", "{path}"]

# What it sees: the system's programs, and these. No network, no variables of yours, no home folder.
sandbox:
  files: { read: ["\${workspace}"] }
  network: none
  limits: { wall: 30s, memory: 512MiB, processes: 32, output: 1MiB }
`;

export const repoHistoryTemplate = `name: repo.history
description: The latest commits that touched a path
tier: low
categories: [analysis]

input:
  type: object
  properties:
    path: { type: string, format: workspace-path, default: "." }
    count: { type: integer, minimum: 1, maximum: 200, default: 20 }
  additionalProperties: false

run:
  command: ["git", "--no-pager", "log", "--oneline", "--no-decorate", "--max-count={count}", "--", "{path}"]
  environment:
    # The sandbox runs as a user of its own, and git would refuse a repository of somebody else.
    GIT_CONFIG_COUNT: "1"
    GIT_CONFIG_KEY_0: safe.directory
    GIT_CONFIG_VALUE_0: "*"

sandbox:
  files: { read: ["\${workspace}"] }
  network: none
  limits: { wall: 30s, memory: 512MiB, output: 1MiB }
`;

export const noteWriteTemplate = `name: note.write
description: Write a note into the folder notes
tier: medium # it writes
categories: [notes]

input:
  type: object
  properties:
    path: { type: string, format: workspace-path }
    text: { type: string, maxLength: 100000 }
  required: [path, text]
  additionalProperties: false

run:
  command: ["dd", "status=none", "of={path}"]
  stdin: "{text}"

sandbox:
  # Two bounds, each enough: the policy permits paths in notes only, and the sandbox has nothing else to write.
  files: { read: [], write: [notes] }
  network: none
  limits: { wall: 10s, memory: 64MiB, processes: 4 }
`;
