export const configTemplate = `# What Callgate does in this folder. Nothing here is in force until \`callgate trust\` pins it, and a change needs
# that again. \`callgate check TOOL --arg k=v\` shows what would be decided about a call, and why.
version: 1

# Where calls act. Policies see it as \`resource\`. Tools of the tiers high and critical run only where protected is true.
environment:
  name: development
  protected: false

# One file for each tool. The folder is searched again every time, so a new file is a change that needs trust.
catalog: [tools/*.yaml]

# *.cedar, and their tests in its folder tests: \`callgate policy check\`, \`callgate policy test\`.
policies: policies

# What holds for every sandbox here, whatever a tool asks for.
sandbox:
  isolation: process # the least: process, container, gvisor or microvm
  hide: [.env] # no tool sees it
  protect: [.git] # no tool writes it
`;
