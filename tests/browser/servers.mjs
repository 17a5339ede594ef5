// The real binary, which `DOCENT_BIN` names.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SITE = fileURLToPath(new URL("../../examples/docusaurus", import.meta.url));

/** A folder of the example site, its route base, version and language. */
const HANDBOOK = ["docs", "/docs", "current", "en"];
const OTHERS = [
  ["versioned_docs/version-sample", "/docs/sample", "sample", "en"],
  ["i18n/de/docusaurus-plugin-content-docs/current", "/de/docs", "current", "de"],
];

/** @typedef {{ url: string, log: string[], stop: () => Promise<void> }} Docent */

/** Starts it with nothing of this process's settings. @param {string[]} args @param {Record<string, string>} env */
function run(args, env) {
  const binary = process.env.DOCENT_BIN;
  assert.ok(binary, "DOCENT_BIN must name the built binary");
  const own = { PATH: process.env.PATH ?? "", TMPDIR: tmpdir(), LOG_FORMAT: "json" };
  return spawn(binary, args, {
    cwd: tmpdir(),
    env: { ...own, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/** @param {string[]} args @param {Record<string, string>} env @returns {Promise<Docent>} */
async function start(args, env) {
  const child = run([...args, "--port", "0"], env);
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

/** The offline demo. @param {Record<string, string>} env */
export const demo = (env = {}) => start(["demo"], env);

/** Production, over an index of {@link index}. @param {Record<string, string>} env */
export const serve = (env) =>
  start(["serve"], {
    EMBEDDING_MODEL: "offline",
    GEMINI_API_KEY: "test",
    // A scripted error is meant; trying again would only take time.
    RETRY_BUDGET: "1ms",
    SHUTDOWN_GRACE: "1ms",
    ...env,
  });

/**
 * Indexes the handbook into a temporary folder.
 *
 * @param {{ others?: boolean }} options whether its other version and language are indexed too
 */
export async function index({ others = false } = {}) {
  const data = await mkdtemp(join(tmpdir(), "docent-browser-"));
  for (const [folder, base, version, language] of [HANDBOOK, ...(others ? OTHERS : [])]) {
    const labels = ["--version-label", version, "--language", language];
    const child = run(["index", join(SITE, folder), "--route-base", base, ...labels], {
      EMBEDDING_MODEL: "offline",
      DOCENT_DATA: data,
    });
    child.stderr.resume();
    const [code] = await once(child, "exit");
    assert.equal(code, 0, `docent index ${folder}`);
  }
  return { data, remove: () => rm(data, { recursive: true }) };
}
