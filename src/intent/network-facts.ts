import type { CedarValueJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Network } from "../contract/network.ts";

/** Names of credentials that a network's rules have the gate add, each once. */
export function credentialsIn(network: Network): readonly string[] {
  if (network.mode === "none") return [];
  return [
    ...new Set(network.allow.flatMap(({ credential }) => (credential === undefined ? [] : [credential]))),
  ];
}

/** What policy sees of a network as `context.network`. Of none at all everything is empty and false. */
export function networkFacts(network: Network): Record<string, CedarValueJson> {
  const rules = network.mode === "none" ? [] : network.allow;
  const observe = network.mode === "none" ? undefined : network.observe;
  return {
    hosts: rules.map(({ host }) => host),
    places: rules.flatMap(({ host, ports }) => ports.map((port) => `${host}:${port}`)),
    credentials: [...credentialsIn(network)],
    private: rules.some(({ allowPrivate }) => allowPrivate === true),
    tcp: rules.some(({ protocol }) => protocol === "tcp"),
    observes: observe !== undefined,
    everything: observe === "allow",
  };
}
