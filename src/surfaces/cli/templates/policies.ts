export const policiesTemplate = `// What may be done here, in Cedar (https://www.cedarpolicy.com). What no policy permits is refused, and a forbid
// outweighs every permit. \`callgate policy schema\` prints every tool, group and field a policy can name; a name that
// does not exist fails \`callgate policy check\`.

@id("analysis-is-open")
@reason("this machine's user and agents may read and search here")
permit (
  principal,
  action in Action::"category/analysis",
  resource
)
when { principal is User || principal is Agent };

@id("notes-in-their-folder")
@reason("notes are written in the folder notes, outside protected environments")
permit (
  principal,
  action == Action::"note.write",
  resource
)
when { context.input.path like "notes/*" }
unless { resource.protected };

// \`callgate exec -- CMD\` is a tool like any other. Remove this, and only the tools of the catalogue can be called.
@id("owner-runs-commands")
@reason("the owner of this process may run commands in the sandbox, outside protected environments")
permit (
  principal,
  action == Action::"callgate.exec",
  resource
)
when { principal.proof == "process-owner" }
unless { resource.protected };

@id("agents-run-no-commands")
@reason("agents use the tools of the catalogue, not commands of their own")
forbid (
  principal is Agent,
  action == Action::"callgate.exec",
  resource
);
`;

export const policyTestsTemplate = `# \`callgate policy test\` runs these: each says what must be decided about one call, and by which policies.
- name: anyone here may search
  tool: repo.search
  input: { pattern: TODO }
  caller: { kind: Agent }
  expect: permit
  policies: [analysis-is-open]

- name: a job of the pipeline may not
  tool: repo.search
  input: { pattern: TODO }
  caller: { kind: Job }
  expect: forbid

- name: a note goes into its folder
  tool: note.write
  input: { path: notes/today.md, text: hello }
  caller: { kind: User }
  expect: permit
  policies: [notes-in-their-folder]

- name: a note goes nowhere else
  tool: note.write
  input: { path: src/main.ts, text: hello }
  caller: { kind: User }
  expect: forbid

- name: no notes where it is protected
  tool: note.write
  input: { path: notes/today.md, text: hello }
  caller: { kind: User }
  context: { environment: { name: production, protected: true } }
  expect: forbid

- name: agents run no commands
  tool: callgate.exec
  input: { command: [ls] }
  caller: { kind: Agent }
  expect: forbid
  policies: [agents-run-no-commands]
`;
