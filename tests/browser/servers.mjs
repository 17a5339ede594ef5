// Starts the real binary, which `DOCENT_BIN` names.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SITE = fileURLToPath(new URL("../../examples/docusaurus", import.meta.url));

/** Folder of the example site, its route base, version and language. */
const HANDBOOK = ["docs", "/docs", "current", "en"];
const OTHERS = [
  ["versioned_docs/version-sample", "/docs/sample", "sample", "en"],
  ["i18n/de/docusaurus-plugin-content-docs/current", "/de/docs", "current", "de"],
];

/** @typedef {{ url: string, log: string[], stop: () => Promise<void> }} Docent */

/**
 * Starts the binary without the settings of this process.
 * @param {string[]} args @param {Record<string, string>} env
 */
function spawnDocent(args, env) {
  const binary = process.env.DOCENT_BIN;
  assert.ok(binary, "DOCENT_BIN must name the built binary");
  const own = { PATH: process.env.PATH ?? "", TMPDIR: tmpdir(), LOG_FORMAT: "json" };
  return spawn(binary, args, {
    cwd: tmpdir(),
    env: { ...own, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/**
 * Starts a server on a free port and waits until it listens.
 * @param {string[]} args @param {Record<string, string>} env @returns {Promise<Docent>}
 */
async function startDocent(args, env) {
  const child = spawnDocent([...args, "--port", "0"], env);
  const log = /** @type {string[]} */ ([]);
  const url = await new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      const { message } = JSON.parse(line);
      log.push(message);
      if (message.startsWith("listening on ")) resolve(message.slice("listening on ".length));
    });
    child.once("exit", () => reject(new Error(`docent ${args[0]} ended:\n${log.join("\n")}`)));
  });
  return {
    url,
    log,
    async stop() {
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Starts the offline demo. @param {Record<string, string>} env */
export const startDemo = (env = {}) => startDocent(["demo"], env);

/** Starts production, over an index of {@link indexHandbook}. @param {Record<string, string>} env */
export const startServer = (env) =>
  startDocent(["serve"], {
    EMBEDDING_MODEL: "offline",
    GEMINI_API_KEY: "test",
    // Tests script errors on purpose; trying again would only take time.
    RETRY_BUDGET: "1ms",
    SHUTDOWN_GRACE: "1ms",
    ...env,
  });

/**
 * Indexes the handbook into a temporary folder.
 *
 * @param {{ others?: boolean }} options `others` indexes the other version and language too.
 */
export async function indexHandbook({ others = false } = {}) {
  const data = await mkdtemp(join(tmpdir(), "docent-browser-"));
  for (const [folder, base, version, language] of [HANDBOOK, ...(others ? OTHERS : [])]) {
    const labels = ["--version-label", version, "--language", language];
    const child = spawnDocent(["index", join(SITE, folder), "--route-base", base, ...labels], {
      EMBEDDING_MODEL: "offline",
      DOCENT_DATA: data,
    });
    child.stderr.resume();
    const [code] = await once(child, "exit");
    assert.equal(code, 0, `docent index ${folder}`);
  }
  return { data, remove: () => rm(data, { recursive: true }) };
}
