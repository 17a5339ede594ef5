// Finds the Chromium that the browser tests drive. Run as a program, this file prints the path, or the reason
// why no Chromium was found.

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Programs of macOS, below the folders that hold its apps. */
const APPS = [
  "Chromium.app/Contents/MacOS/Chromium",
  "Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** Reports whether a file can be run as a program. @param {string} path */
function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Returns the path that `CHROMIUM` names, else the first browser on the `PATH`, else macOS's.
 *
 * @returns {string}
 * @throws where there is none, or `CHROMIUM` names no program
 */
export function findChromium() {
  const named = process.env.CHROMIUM;
  if (named) {
    if (isProgram(named)) return named;
    throw new Error(`CHROMIUM=${named} names no program`);
  }
  const path = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
  const onPath = NAMES.flatMap((name) => path.map((folder) => join(folder, name)));
  const folders = ["/Applications", join(homedir(), "Applications")];
  const apps = APPS.flatMap((app) => folders.map((folder) => join(folder, app)));
  const found = [...onPath, ...apps].find(isProgram);
  if (!found) throw new Error(`none of ${NAMES.join(", ")} is on the PATH`);
  return found;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    console.log(findChromium());
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
