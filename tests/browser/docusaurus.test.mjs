// Tests the widget on Docusaurus: with the plugin on the handbook's site, and with one line on another site.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openContext } from "./chromium.mjs";
import { answerWith } from "./gemini.mjs";
import { HANDBOOK, PLAIN, startDocusaurus } from "./site.mjs";
import { locateWidget, readEvents, recordEvents } from "./widget.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

/** @typedef {Awaited<ReturnType<typeof startDocusaurus>>} Docusaurus */
const sites = { handbook: /** @type {Docusaurus} */ ({}), plain: /** @type {Docusaurus} */ ({}) };
let docent = "";

const fixture = startFixture({
  others: true,
  async onStarted(end) {
    sites.handbook = await startDocusaurus(HANDBOOK, { docent: () => docent });
    sites.plain = await startDocusaurus(PLAIN, {
      docent: () => docent,
      head: () => `<script async src="${docent}/widget.js"></script>`,
    });
    end(sites.handbook.close);
    end(sites.plain.close);
    const origins = [sites.handbook.url, sites.plain.url].join();
    docent = (await fixture.startDocent({ ALLOWED_ORIGINS: origins })).url;
  },
});

/**
 * Opens a page and waits until React has hydrated it.
 *
 * @param {import("node:test").TestContext} t
 * @param {string} url
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
async function openSite(t, url, options) {
  const context = await openContext(t, fixture.browser, { context: options });
  const page = await context.newPage();
  await recordEvents(page);
  await page.goto(url);
  await page.waitForSelector("html[data-has-hydrated=true]");
  await page.evaluate(() => /** @type {any} */ (window.sameLoad = true));
  const navbar = page.locator(".navbar");
  const isSameLoad = () => page.evaluate(() => /** @type {any} */ (window).sameLoad === true);
  return { page, navbar, isSameLoad, chat: locateWidget(page) };
}

test("the button of the navbar opens the chat", async (t) => {
  const { navbar, chat } = await openSite(t, `${sites.handbook.url}/docs/deploy`);
  await navbar.getByRole("button", { name: "Ask AI" }).click();
  await chat.dialog.waitFor();
  assert.equal(await chat.opener.isVisible(), false, "one button is enough");
  await chat.ask(QUESTION);
  assert.equal(await chat.waitForEnd(), "answered");
});

test("the button stands in the navbar on a phone too, and nothing scrolls to the side", async (t) => {
  const { page, navbar, chat } = await openSite(t, `${sites.handbook.url}/docs/deploy`, {
    viewport: { width: 360, height: 640 },
  });
  await navbar.getByRole("button", { name: "Ask AI" }).click();
  await chat.dialog.waitFor();
  const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
  assert.equal(scrollWidth, clientWidth);
});

test("a citation opens its heading without loading the site again, and the conversation stays", async (t) => {
  const { page, navbar, isSameLoad, chat } = await openSite(t, `${sites.handbook.url}/docs/deploy`);
  await navbar.getByRole("button", { name: "Ask AI" }).click();
  fixture.gemini.script("within", answerWith("See [1]."));
  await chat.ask(`${QUESTION} within`);
  await chat.waitForState("answered");
  const [{ sources }] = await readEvents(page, "answer");
  const { pathname, hash } = new URL(sources[0].url, page.url());
  await chat.citations.first().click();
  await page.waitForURL((url) => url.hash === hash);
  assert.equal(new URL(page.url()).pathname.replace(/\/$/, ""), pathname.replace(/\/$/, ""));
  assert.equal(await isSameLoad(), true);
  const heading = page.locator(`[id="${decodeURIComponent(hash.slice(1))}"]`);
  await heading.waitFor();
  await page.waitForFunction(
    (id) => {
      const top = document.getElementById(id)?.getBoundingClientRect().top ?? -1;
      return top >= 0 && top < innerHeight;
    },
    decodeURIComponent(hash.slice(1)),
  );
  assert.equal(await chat.dialog.isVisible(), false);
  await page.keyboard.press("Control+i");
  await chat.waitForState("answered");
  assert.equal(await chat.turns.count(), 1);
});

test("a change of the site's colours is followed at once", async (t) => {
  const { page, chat } = await openSite(t, `${sites.handbook.url}/docs/deploy`, {
    colorScheme: "light",
  });
  await page.keyboard.press("Control+i");
  await chat.dialog.waitFor();
  const ground = () => chat.dialog.evaluate((panel) => getComputedStyle(panel).backgroundColor);
  const light = await ground();
  const dark = await page.evaluate(() => {
    document.documentElement.dataset.theme = "dark";
    const host = /** @type {Element} */ (document.querySelector("docent-chat"));
    const panel = /** @type {Element} */ (host.shadowRoot?.querySelector("dialog"));
    return new Promise((resolve) =>
      requestAnimationFrame(() => resolve(getComputedStyle(panel).backgroundColor)),
    );
  });
  assert.notEqual(dark, light);
  await page.keyboard.press("Escape");
  await page.evaluate(() => (document.documentElement.dataset.theme = "light"));
  await page.getByRole("button", { name: /Switch between dark and light/ }).click();
  await page.waitForFunction(() => document.documentElement.dataset.themeChoice !== "system");
  await page.keyboard.press("Control+i");
  const isDark = await page.evaluate(() => document.documentElement.dataset.theme === "dark");
  assert.equal(await ground(), isDark ? dark : light);
});

test("a page of another version gets the sources of that version only", async (t) => {
  const { page, navbar, isSameLoad, chat } = await openSite(t, `${sites.handbook.url}/docs/try-it`);
  const question = "On which port does the demo listen?";
  const urls = async () => {
    await page.keyboard.press("Control+i");
    await chat.ask(question);
    await chat.waitForEnd();
    await page.keyboard.press("Escape");
    const { sources } = (await readEvents(page, "answer")).at(-1);
    return sources.map((/** @type {any} */ source) => new URL(source.url, page.url()).pathname);
  };
  const current = await urls();
  assert.ok(current.length > 0);
  for (const path of current) assert.doesNotMatch(path, /^\/docs\/sample/);
  const versions = navbar.locator(".dropdown", { hasText: "Sample" });
  await versions.hover();
  await versions.locator(".dropdown__menu").getByRole("link", { name: "Sample" }).click();
  await page.waitForURL(/\/docs\/sample/);
  assert.equal(await isSameLoad(), true);
  const sample = await urls();
  assert.ok(sample.length > 0);
  for (const path of sample) assert.match(path, /^\/docs\/sample/);
  const [first, second] = await readEvents(page, "ask");
  assert.deepEqual(first.request.filter, { version: "current", language: "en" });
  assert.deepEqual(second.request.filter, { version: "sample", language: "en" });
});

test("the German pages ask for German passages, in German words", async (t) => {
  const { page, navbar, chat } = await openSite(t, `${sites.handbook.url}/de/docs/try-it`);
  await navbar.getByRole("button", { name: "KI fragen" }).click();
  await chat.ask("Wie starte ich die Demo?");
  assert.equal(await chat.waitForEnd(), "answered");
  const [{ request }] = await readEvents(page, "ask");
  assert.deepEqual(request.filter, { version: "current", language: "de" });
  const [{ sources }] = await readEvents(page, "answer");
  for (const { url } of sources) assert.match(url, /^\/de\/docs/);
  await chat.button("Schließen").waitFor();
});

test("one line puts a button into the navbar that survives client-side navigation", async (t) => {
  const { page, navbar, isSameLoad, chat } = await openSite(
    t,
    `${sites.plain.url}/docs/content/tables`,
  );
  const button = navbar.getByRole("button", { name: "Ask AI" });
  await button.waitFor();
  for (const name of ["Code", "Admonitions"]) {
    await page.locator(".menu").getByRole("link", { name, exact: true }).first().click();
    await page.waitForURL(new RegExp(name.toLowerCase()));
    assert.equal(await isSameLoad(), true);
    await button.waitFor();
    assert.equal(await button.count(), 1);
  }
  await button.click();
  await chat.dialog.waitFor();
  await chat.ask(QUESTION);
  assert.equal(await chat.waitForEnd(), "answered");
  const [{ request }] = await readEvents(page, "ask");
  assert.deepEqual(request.filter, { version: "current", language: "en" });
});

test("one line puts a button on a page that is not found too", async (t) => {
  const { navbar } = await openSite(t, `${sites.plain.url}/404.html`);
  await navbar.getByRole("button", { name: "Ask AI" }).waitFor();
});
