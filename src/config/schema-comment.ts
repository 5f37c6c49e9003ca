/**
 * The first line of a YAML file that tells editors which schema completes it: the one of the package that the project
 * has installed. `depth` is how many folders the file lies below the project's root.
 */
export function schemaComment(schema: "callgate" | "tool", depth: number): string {
  return `# yaml-language-server: $schema=${"../".repeat(depth)}node_modules/callgate/schema/${schema}.schema.json`;
}
