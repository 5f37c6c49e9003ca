/** Formats a tool's schema may name. What a path resolves to is decided later, before policy sees it. */
export const FORMATS: Readonly<Record<string, (text: string) => boolean>> = {
  "workspace-path": (text) => text !== "" && !text.includes("\0"),
  artifact: (text) => /^sha256:[0-9a-f]{64}$/.test(text),
};
