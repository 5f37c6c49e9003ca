// `npm run bench` runs every one; `npm run bench -- calls log` those named.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const known = readdirSync(import.meta.dirname)
  .filter(
    (file) =>
      file.endsWith(".ts") && !["all.ts", "dockers-filter.ts", "egress-server.ts", "table.ts"].includes(file),
  )
  .map((file) => file.slice(0, -3));
const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : known) {
  if (!known.includes(name)) {
    console.error(`there is no bench \`${name}\`; there are ${known.join(", ")}`);
    process.exit(64);
  }
  console.log(`\n== ${name}`);
  const { status } = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", join(import.meta.dirname, `${name}.ts`)],
    { stdio: "inherit" },
  );
  if (status !== 0) process.exit(status ?? 1);
}
