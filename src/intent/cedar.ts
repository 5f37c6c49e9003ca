/** Cedar, as its WebAssembly package gives it. */
export type Cedar = typeof import("@cedar-policy/cedar-wasm/nodejs");

/** Loads Cedar: about 58 ms, so nobody does it before a decision needs it. Node keeps it for later calls. */
export async function loadCedar(): Promise<Cedar> {
  return await import("@cedar-policy/cedar-wasm/nodejs");
}
