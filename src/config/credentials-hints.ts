import type { Hint } from "./issues.ts";

const EACH = "credentials.*";

/** What to write, where the problem itself does not say: each error of `credentials.yaml` has a way out. */
export const CREDENTIALS_HINTS: readonly Hint[] = [
  { path: "", remedy: "write `version: 1`, and below `credentials:` each credential by its name" },
  { path: "version", remedy: "write `version: 1`" },
  {
    path: "credentials",
    remedy:
      "write each by its name: `NAME: { host: api.example.com, from: { environment: API_TOKEN }, kind: bearer, tools: [callgate.exec] }`",
  },
  {
    path: EACH,
    remedy: "a name is small letters, digits, `.`, `_` and `-`; it needs `host`, `from`, `kind` and `tools`",
  },
  {
    path: `${EACH}.host`,
    remedy:
      "write `host: api.example.com`, without a scheme or a path; `api.example.com:8443` for another port than 443",
  },
  {
    path: `${EACH}.from`,
    remedy:
      "write one of `{ environment: API_TOKEN }`, `{ file: /path/of/it }` and `{ command: [/path/of/program, argument] }`",
  },
  {
    path: `${EACH}.from.environment`,
    remedy: "write the variable's name, such as `{ environment: API_TOKEN }`",
  },
  {
    path: `${EACH}.from.file`,
    remedy: "write the whole path, such as `{ file: /home/you/.config/api-token }`; `~` is not expanded",
  },
  ...["", ".*"].map((of) => ({
    path: `${EACH}.from.command${of}`,
    remedy: "write a list that begins with a whole path, such as `{ command: [/usr/bin/pass, show, api] }`",
  })),
  { path: `${EACH}.kind`, remedy: "write `kind: bearer` for `Authorization: Bearer …`" },
  { path: `${EACH}.user`, remedy: "write `user: NAME`" },
  { path: `${EACH}.header`, remedy: "write a header's name, such as `header: X-Api-Key`" },
  { path: `${EACH}.prefix`, remedy: 'write such as `prefix: "token "`' },
  { path: `${EACH}.parameter`, remedy: "write a parameter's name, such as `parameter: api_key`" },
  { path: `${EACH}.region`, remedy: "write such as `region: eu-west-1`" },
  { path: `${EACH}.service`, remedy: "write such as `service: s3`" },
  { path: `${EACH}.variable`, remedy: "write such as `variable: API_TOKEN`" },
  { path: `${EACH}.shape`, remedy: "write such as `shape: ghp_`, or remove it" },
  ...["", ".*"].map((of) => ({
    path: `${EACH}.tools${of}`,
    remedy:
      'write which tools may use it, such as `tools: [callgate.exec, "repo.*"]`; `callgate exec` is `callgate.exec`',
  })),
  ...["", ".*"].map((of) => ({
    path: `${EACH}.environments${of}`,
    remedy: "write such as `environments: [development]`, or remove it for all",
  })),
  { path: `${EACH}.maskResponses`, remedy: "write `true` or `false`, or remove it" },
  {
    path: `${EACH}.allowClear`,
    remedy: "write `allowClear: true` where it may be sent without TLS, or remove it",
  },
];
