// The two sites that the tests read. Run as a program, this builds them.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);

export const FIXTURE = fileURLToPath(new URL(".", import.meta.url));
export const HANDBOOK = fileURLToPath(new URL("../../examples/docusaurus/", import.meta.url));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // The address of a real Docent is no part of what is tested.
  const { DOCENT_URL: _, ...env } = process.env;
  for (const cwd of [FIXTURE, HANDBOOK]) {
    if (!existsSync(join(cwd, "node_modules"))) {
      await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd, env });
    }
    await run("npm", ["run", "build"], { cwd, env });
  }
}
