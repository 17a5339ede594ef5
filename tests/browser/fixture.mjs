// Starts the parts that most test files share: a fake Gemini, the real binary over the handbook, a site of
// another origin, and a browser.

import { after, before } from "node:test";

import { launchBrowser, openContext } from "./chromium.mjs";
import { startGemini } from "./gemini.mjs";
import { indexHandbook, startServer } from "./servers.mjs";
import { startSite } from "./site.mjs";
import { locateWidget, recordEvents } from "./widget.mjs";

/** Question whose passages are in the handbook; for other questions Docent asks no model. */
export const QUESTION = "How do I allow my site to call Docent?";

/**
 * Registers the hooks of a test file that start and stop these parts, and returns the object that the hooks
 * fill.
 *
 * @param {object} options
 * @param {string[]} [options.without] Flags of Playwright's to start Chromium without.
 * @param {boolean} [options.others] True to index the handbook's other version and language too.
 * @param {(end: (stop: () => unknown) => void) => Promise<void>} [options.onStarted]
 *   Starts the servers that one file needs.
 */
export function startFixture({ without = [], others = false, onStarted } = {}) {
  const all = {
    gemini: /** @type {Awaited<ReturnType<typeof startGemini>>} */ ({}),
    site: /** @type {Awaited<ReturnType<typeof startSite>>} */ ({}),
    docent: /** @type {import("./servers.mjs").Docent} */ ({}),
    browser: /** @type {import("playwright-core").Browser} */ ({}),
    /**
     * Starts a further Docent over the same index; pages may load from it.
     * @param {Record<string, string>} env
     */
    async startDocent(env) {
      const settings = {
        DOCENT_DATA: data.data,
        GOOGLE_GEMINI_BASE_URL: all.gemini.url,
        ALLOWED_ORIGINS: all.site.url,
      };
      const docent = await startServer({ ...settings, ...env });
      all.site.trusted.push(docent.url);
      ends.push(docent.stop);
      return docent;
    },
    /**
     * Opens a page of the site in a context of its own, and returns the widget on it.
     *
     * @param {import("node:test").TestContext} t
     * @param {import("./site.mjs").PageOptions & import("./chromium.mjs").Guard & { query?: string }} options
     */
    async openPage(t, options = {}) {
      const context = await openContext(t, all.browser, options);
      const page = await context.newPage();
      await recordEvents(page);
      await page.goto(all.site.addPage(options) + (options.query ?? ""));
      return { context, page, chat: locateWidget(page) };
    },
    /**
     * Opens a page of the site and the chat on it.
     * @param {import("node:test").TestContext} t @param {Parameters<typeof all.openPage>[1]} options
     */
    async openChat(t, options = {}) {
      const visited = await all.openPage(t, options);
      await visited.chat.open();
      return visited;
    },
  };
  let data = { data: "", remove: async () => {} };
  /** @type {(() => unknown)[]} */
  const ends = [];

  before(async () => {
    data = await indexHandbook({ others });
    all.gemini = await startGemini();
    all.site = await startSite();
    all.docent = await all.startDocent({});
    all.browser = await launchBrowser(without);
    all.site.addPage({ title: "The handbook" }, "/docs/");
    await onStarted?.((end) => ends.unshift(end));
  });
  after(async () => {
    await all.browser.close?.();
    for (const end of ends) await end();
    all.gemini.close?.();
    all.site.close?.();
    await data.remove();
  });
  return all;
}
