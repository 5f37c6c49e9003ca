/** Headers and target of a request on its way out, as they will be sent. Names are lower case. */
export interface OutgoingRequest {
  readonly method: string;
  /** Path and query, as they will be sent. */
  target: string;
  /** In order; a name may stand more than once. */
  headers: [name: string, value: string][];
  /** Lower case, with the port where it is not the scheme's own. */
  readonly host: string;
}

/** A credential as the gate holds it for one host. Its value never enters a sandbox, a record, a log line or an error. */
export interface GateCredential {
  readonly name: string;
  /** The one host that it is for, lower case. */
  readonly host: string;
  /** Variables the tool gets, with what stands for the secret: `GITHUB_TOKEN` -> a placeholder made for this sandbox. */
  readonly variables: Readonly<Record<string, string>>;
  /** What stands for the secret inside; on its way to another host it is a denial. */
  readonly placeholders: readonly string[];
  /** What comes back from the host has the secret masked. */
  readonly masksResponses: boolean;
  /** Values to mask wherever they show up. */
  readonly secrets: readonly string[];
  /** Whether it signs the body too, so that the whole of it must be known before the head is sent. */
  readonly signsBody: boolean;
  /**
   * Adds it, or puts it where its placeholder stands.
   * @param body whole, where `signsBody`.
   * @throws Refusal with words that do not hold the secret.
   */
  attach(request: OutgoingRequest, body?: Uint8Array): Promise<void>;
}
