import type { Probe } from "./probe.ts";
import { CREDENTIAL_PROBES } from "./probes/credentials.ts";
import { FILE_PROBES } from "./probes/files.ts";
import { HOST_FILE_PROBES } from "./probes/host-files.ts";
import { KERNEL_PROBES } from "./probes/kernel.ts";
import { LINK_PROBES } from "./probes/links.ts";
import { NETWORK_PROBES } from "./probes/network.ts";
import { PROCESS_PROBES } from "./probes/processes.ts";
import { RESOURCE_PROBES } from "./probes/resources.ts";
import { TERMINAL_PROBES } from "./probes/terminal.ts";

/** Every probe there is, by area. */
export const PROBES: readonly Probe[] = [
  ...FILE_PROBES,
  ...HOST_FILE_PROBES,
  ...LINK_PROBES,
  ...PROCESS_PROBES,
  ...KERNEL_PROBES,
  ...NETWORK_PROBES,
  ...CREDENTIAL_PROBES,
  ...RESOURCE_PROBES,
  ...TERMINAL_PROBES,
];
