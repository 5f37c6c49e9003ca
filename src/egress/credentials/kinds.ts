/** How a secret reaches the host. */
export type CredentialKind =
  | { readonly kind: "bearer" }
  | { readonly kind: "basic"; readonly user: string }
  | { readonly kind: "header"; readonly header: string; readonly prefix?: string }
  | { readonly kind: "query"; readonly parameter: string }
  /** The secret is JSON: `{ "accessKeyId": …, "secretAccessKey": …, "sessionToken"?: … }`. */
  | { readonly kind: "sigv4"; readonly region: string; readonly service: string }
  /** Only where the tool itself put its placeholder. */
  | { readonly kind: "placeholder" };

/** What is known of a credential before its secret is fetched. */
export interface CredentialSpec {
  readonly name: string;
  /** Lower case, with a port where it is not the scheme's own. */
  readonly host: string;
  readonly how: CredentialKind;
  /** The tool finds a placeholder there. */
  readonly variable?: string;
  /** What the placeholder begins with, where the tool looks at that. */
  readonly shape?: string;
  readonly masksResponses: boolean;
}

export interface CredentialOptions {
  /** Told of every value to mask, before the first use of it. One that throws refuses the request. */
  readonly onSecret?: (values: readonly string[]) => void;
  /** Milliseconds since the epoch: signatures carry the time. */
  readonly now?: () => number;
}
