// Starts Chromium, and opens pages whose console must stay clean.

import assert from "node:assert/strict";

import { chromium } from "playwright-core";

import { findChromium } from "./find_chromium.mjs";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a headless Chromium. @param {string[]} without Flags of Playwright's to leave out. */
export const launchBrowser = (without = []) =>
  chromium.launch({
    executablePath: findChromium(),
    args: FLAGS,
    ignoreDefaultArgs: without,
  });

/**
 * @typedef {object} Guard
 * @property {RegExp[]} [expected] Errors on the console that the test provokes.
 * @property {import("playwright-core").BrowserContextOptions} [context]
 */

/**
 * Opens a browser context for one test. Fails the test at its end if a page of the context has reported an
 * error or a violation of its policy, or has run a payload, which sets `window.hit`.
 *
 * @param {{ after: (end: () => Promise<void>) => void }} t
 * @param {import("playwright-core").Browser} browser
 * @param {Guard} guard
 */
export async function openContext(t, browser, { expected = [], context: options = {} } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(8_000);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`the policy forbids ${event.effectiveDirective} ${event.blockedURI}`),
    );
    let hit;
    Object.defineProperty(window, "hit", {
      configurable: true,
      get: () => hit,
      set(value) {
        console.error("a payload ran");
        hit = value;
      },
    });
  });
  /** @type {string[]} */
  const errors = [];
  context.on("page", (page) => {
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
  });
  t.after(async () => {
    await context.close();
    const unexpected = errors.filter((error) => !expected.some((pattern) => pattern.test(error)));
    assert.deepEqual(unexpected, []);
  });
  return context;
}
