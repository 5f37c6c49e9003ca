/** What a run was seen to use, as rules that would give the next one just that. */
export interface Fragment {
  /** `sandbox:` of a manifest, ready to paste; each line says why it is there. */
  readonly yaml: string;
  /** The same for `callgate exec`, in front of its `--`. */
  readonly flags: readonly string[];
  /** What is for a person to know, and in no rule. */
  readonly notes: readonly string[];
}
