// What most test files share: a fake Gemini, the real binary over the handbook, a site of another origin, a browser.

import { after, before } from "node:test";

import { guarded, launch } from "./chromium.mjs";
import { startGemini } from "./gemini.mjs";
import { index, serve } from "./servers.mjs";
import { startSite } from "./site.mjs";
import { listen, widget } from "./widget.mjs";

/** Questions whose passages are in the handbook; Docent asks no model about anything else. */
export const QUESTION = "How do I allow my site to call Docent?";

/**
 * Registers the hooks of a test file that start and stop everything, and gives what they fill in.
 *
 * @param {object} options
 * @param {string[]} [options.without] flags of Playwright's to start Chromium without
 * @param {boolean} [options.others] the handbook's other version and language are indexed too
 * @param {(end: (stop: () => unknown) => void) => Promise<void>} [options.started] starts what a file needs further
 */
export function world({ without = [], others = false, started } = {}) {
  const all = {
    gemini: /** @type {Awaited<ReturnType<typeof startGemini>>} */ ({}),
    site: /** @type {Awaited<ReturnType<typeof startSite>>} */ ({}),
    docent: /** @type {import("./servers.mjs").Docent} */ ({}),
    browser: /** @type {import("playwright-core").Browser} */ ({}),
    /** Starts a further Docent over the same index, which pages may load from. @param {Record<string, string>} env */
    async another(env) {
      const settings = {
        DOCENT_DATA: data.data,
        GOOGLE_GEMINI_BASE_URL: all.gemini.url,
        ALLOWED_ORIGINS: all.site.url,
      };
      const docent = await serve({ ...settings, ...env });
      all.site.trusted.push(docent.url);
      ends.push(docent.stop);
      return docent;
    },
    /**
     * A page of the site in a context of its own, and the widget on it.
     *
     * @param {import("node:test").TestContext} t
     * @param {import("./site.mjs").PageOptions & import("./chromium.mjs").Guard & { query?: string }} options
     */
    async visit(t, options = {}) {
      const context = await guarded(t, all.browser, options);
      const page = await context.newPage();
      await listen(page);
      await page.goto(all.site.page(options) + (options.query ?? ""));
      return { context, page, chat: widget(page) };
    },
    /** The same with the chat open. @param {import("node:test").TestContext} t @param {Parameters<typeof all.visit>[1]} options */
    async chat(t, options = {}) {
      const visited = await all.visit(t, options);
      await visited.chat.open();
      return visited;
    },
  };
  let data = { data: "", remove: async () => {} };
  /** @type {(() => unknown)[]} */
  const ends = [];

  before(async () => {
    data = await index({ others });
    all.gemini = await startGemini();
    all.site = await startSite();
    all.docent = await all.another({});
    all.browser = await launch(without);
    all.site.page({ title: "The handbook" }, "/docs/");
    await started?.((end) => ends.unshift(end));
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
