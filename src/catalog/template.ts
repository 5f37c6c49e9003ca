/** A piece of a command argument. */
export type TemplatePart =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "value"; readonly name: string }
  | { readonly kind: "spread"; readonly name: string };

export type ParsedTemplate =
  | { readonly ok: true; readonly parts: readonly TemplatePart[] }
  | { readonly ok: false; readonly message: string; readonly remedy: string };

const PIECES = /\{\{|\}\}|\{(?<spread>\.\.\.)?(?<name>[A-Za-z_][A-Za-z0-9_-]*)\}|[{}]|[^{}]+/g;

/**
 * Takes `{name}`, `{...names}`, `{{` and `}}` apart. A lone brace is refused rather than guessed at, so that a
 * misspelt place never becomes literal text.
 */
export function parseTemplate(template: string): ParsedTemplate {
  const parts: TemplatePart[] = [];
  let text = "";
  const flush = (): void => {
    if (text !== "") parts.push({ kind: "text", text });
    text = "";
  };
  for (const match of template.matchAll(PIECES)) {
    const [piece] = match;
    const name = match.groups?.["name"];
    if (name !== undefined) {
      flush();
      parts.push({ kind: match.groups?.["spread"] === undefined ? "value" : "spread", name });
    } else if (piece === "{{" || piece === "}}") text += piece.charAt(0);
    else if (piece === "{" || piece === "}") {
      return {
        ok: false,
        message: `\`${template}\` holds a lone \`${piece}\``,
        remedy: `write \`${piece}${piece}\` for the character, or \`{name}\` for a value of the input`,
      };
    } else text += piece;
  }
  flush();
  if (parts.length > 1 && parts.some((part) => part.kind === "spread")) {
    return {
      ok: false,
      message: `\`${template}\` mixes a list with other text`,
      remedy: "`{...names}` becomes several arguments, so it stands alone in its own",
    };
  }
  return { ok: true, parts };
}
