import { schemaComment } from "../../../config/schema-comment.ts";
import { configTemplate } from "./config.ts";
import { policiesTemplate, policyTestsTemplate } from "./policies.ts";
import { noteWriteTemplate, repoHistoryTemplate, repoSearchTemplate } from "./tools.ts";

/** A file, so that the folder is there: a grant has to exist before a tool gets it. */
const NOTES = `# Notes

The tool \`note.write\` writes here and nowhere else.
`;

/** What \`callgate init\` writes, by path: a project that loads, validates and passes its own policy tests. */
export function projectTemplate(): ReadonlyMap<string, string> {
  const tool = (text: string): string => `${schemaComment("tool", 1)}\n${text}`;
  return new Map([
    ["callgate.yaml", `${schemaComment("callgate", 0)}\n${configTemplate}`],
    ["tools/repo-search.yaml", tool(repoSearchTemplate)],
    ["tools/repo-history.yaml", tool(repoHistoryTemplate)],
    ["tools/note-write.yaml", tool(noteWriteTemplate)],
    ["policies/project.cedar", policiesTemplate],
    ["policies/tests/project.yaml", policyTestsTemplate],
    ["notes/README.md", NOTES],
  ]);
}
