// Names the two sites that the tests read, and builds them when it is run as a program.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const FIXTURE_SITE = fileURLToPath(new URL(".", import.meta.url));
export const HANDBOOK_SITE = fileURLToPath(new URL("../../examples/docusaurus/", import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // The tests expect the default address of Docent in the pages.
  const { DOCENT_URL: _, ...env } = process.env;
  for (const cwd of [FIXTURE_SITE, HANDBOOK_SITE]) {
    if (!existsSync(join(cwd, "node_modules"))) {
      await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd, env });
    }
    await run("npm", ["run", "build"], { cwd, env });
  }
}
