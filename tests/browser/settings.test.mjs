// Tests the attributes, methods and events of `<docent-chat>`, and the settings that the element reads from the
// page.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith } from "./gemini.mjs";
import { readEvents } from "./widget.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

const fixture = startFixture();

const NAVBAR = `<div id="__docusaurus"><nav class="navbar"><div class="navbar__items">Docs</div>
<div class="navbar__items navbar__items--right"><a href="#x">Blog</a></div></nav></div>`;

/** Returns the last request of the page. @param {import("playwright-core").Page} page */
const readLastRequest = async (page) => (await readEvents(page, "ask")).at(-1).request;

test("nothing but widget.js is fetched until a reader opens the chat", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  const fetched = /** @type {string[]} */ ([]);
  page.on("request", (sent) => fetched.push(sent.url()));
  fetched.length = 0;
  await page.reload({ waitUntil: "networkidle" });
  await chat.opener.waitFor();
  const ownPaths = () =>
    fetched.filter((url) => url.startsWith(fixture.docent.url)).map((url) => new URL(url).pathname);
  assert.deepEqual(ownPaths(), ["/widget.js"]);
  await chat.opener.click();
  await chat.box.waitFor();
  assert.ok(ownPaths().includes("/widget/panel.js"));
});

for (const module of [false, true]) {
  test(`a ${module ? "module" : "classic script"} appends the element with the script's attributes`, async (t) => {
    const { page, chat } = await fixture.openPage(t, {
      module,
      data: { suggestions: "One?|Two?", lang: "de" },
    });
    await chat.opener.waitFor();
    assert.equal(await page.locator("docent-chat").count(), 1);
    assert.equal(await chat.host.getAttribute("suggestions"), "One?|Two?");
    assert.equal(await chat.opener.innerText(), "KI fragen");
  });
}

test("an element that the page has already is used, and no second one is made", async (t) => {
  const { page, chat } = await fixture.openPage(t, {
    element: '<docent-chat lang="de"></docent-chat>',
    body: `<script async src="/again.js"></script>`,
    expected: [/404/, /MIME/],
  });
  await chat.opener.waitFor();
  assert.equal(await page.locator("docent-chat").count(), 1);
  assert.equal(await chat.opener.innerText(), "KI fragen");
});

test("the attribute button places the button: floating, inline, none, navbar", async (t) => {
  const readPosition = (/** @type {import("playwright-core").Locator} */ part) =>
    part.evaluate((e) => getComputedStyle(e).position);
  const floating = await fixture.openPage(t, {
    data: { button: "floating" },
    body: "<a data-docent-open>x</a>",
  });
  await floating.chat.opener.waitFor();
  assert.equal(await readPosition(floating.chat.opener), "fixed");

  const inline = await fixture.openPage(t, {
    element: '<docent-chat button="inline"></docent-chat>',
  });
  await inline.chat.opener.waitFor();
  assert.notEqual(await readPosition(inline.chat.opener), "fixed");
  await inline.chat.opener.click();
  await inline.chat.dialog.waitFor();

  const none = await fixture.openPage(t, { data: { button: "none" } });
  await none.chat.host.waitFor({ state: "attached" });
  assert.equal(await none.chat.opener.isVisible(), false);
  await none.page.keyboard.press("Control+i");
  await none.chat.box.waitFor();

  const navbar = await fixture.openPage(t, { body: NAVBAR });
  assert.equal(await navbar.page.locator(".navbar button").count(), 0, "the page has not hydrated");
  await navbar.page.evaluate(() => (document.documentElement.dataset.hasHydrated = "true"));
  const button = navbar.page
    .locator(".navbar__items--right")
    .getByRole("button", { name: "Ask AI" });
  await button.waitFor();
  assert.equal(await navbar.chat.opener.isVisible(), false);
  await button.click();
  await navbar.chat.dialog.waitFor();
});

test("the widget adds no button where the page has its own", async (t) => {
  const body =
    '<button data-docent-open>Help</button><button data-docent-open="How do I start?">Start</button>';
  const { page, chat } = await fixture.openPage(t, { body });
  await chat.host.waitFor({ state: "attached" });
  assert.equal(await chat.opener.isVisible(), false);
  await page.getByRole("button", { name: "Help" }).click();
  await chat.box.waitFor();
  assert.equal(await chat.box.inputValue(), "");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Start" }).click();
  assert.equal(await chat.box.inputValue(), "How do I start?");
  assert.equal(await chat.turns.count(), 0, "it is not sent");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Start");
});

test("an inline chat stands in the page, open, without a dialog", async (t) => {
  const { page, chat } = await fixture.openPage(t, {
    element: "<docent-chat inline></docent-chat>",
  });
  await chat.box.waitFor();
  assert.equal(await chat.host.locator("section.panel").count(), 1);
  assert.equal(await chat.host.locator("dialog").count(), 0);
  assert.equal(await chat.opener.isVisible(), false);
  assert.notEqual(
    await page.evaluate(() => document.activeElement?.localName),
    "docent-chat",
    "it takes the focus from nobody",
  );
  await chat.ask(QUESTION);
  assert.equal(await chat.waitForEnd(), "answered");
  await chat.box.press("Escape");
  assert.ok(await chat.box.isVisible());
  await page.locator("#search").focus();
  await page.keyboard.press("Tab");
  assert.notEqual(await page.evaluate(() => document.activeElement?.id), "search", "no trap");
});

test("suggestions are asked with one click, and are gone then", async (t) => {
  const { page, chat } = await fixture.openChat(t, {
    data: { suggestions: ` ${QUESTION} | How do I deploy? |` },
  });
  const suggestions = chat.host.getByRole("button", { name: /\?$/ });
  assert.deepEqual(await suggestions.allInnerTexts(), [QUESTION, "How do I deploy?"]);
  await suggestions.first().click();
  await chat.waitForEnd();
  assert.equal((await readLastRequest(page)).query, QUESTION);
  assert.equal(await suggestions.count(), 0);
  await chat.button("New conversation").click();
  assert.equal(await suggestions.count(), 2);
});

test("the attribute words replaces those of the interface", async (t) => {
  const words = JSON.stringify({ open: "Frag uns", send: "Los", title: "Hilfe" });
  const { chat } = await fixture.openPage(t, { data: { words } });
  await chat.button("Frag uns").click();
  await chat.button("Los").waitFor();
  await chat.host.getByRole("dialog", { name: "Hilfe" }).waitFor();
  assert.equal(await chat.button("New conversation").count(), 1, "the others stay");
});

test("German pages get German words", async (t) => {
  const { chat } = await fixture.openPage(t, { lang: "de-AT" });
  await chat.button("KI fragen").click();
  for (const name of ["Senden", "Schließen", "Neues Gespräch"]) await chat.button(name).waitFor();
  assert.equal(await chat.box.getAttribute("aria-label"), "Deine Frage");
  fixture.gemini.script("deutsch", answerWith("Ja."));
  await chat.ask(`${QUESTION} deutsch`);
  assert.equal(await chat.waitForEnd(), "uncited");
  const text = await chat.turns.last().innerText();
  assert.match(text, /Quelle/);
  assert.doesNotMatch(text, /Sources|Check it/);
});

test("a language without words is shown in English", async (t) => {
  const { chat } = await fixture.openPage(t, { lang: "fi" });
  await chat.button("Ask AI").waitFor();
});

const META = `<meta name="docusaurus_version" content="current"><meta name="docusaurus_locale" content="en">`;

test("a request names the page without its query string, and the version and language of the docs", async (t) => {
  const { page, chat } = await fixture.openPage(t, {
    title: "The title",
    head: META,
    query: "?token=secret#part",
  });
  await chat.open();
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  const { page: where, filter, ...rest } = await readLastRequest(page);
  const { pathname } = new URL(page.url());
  assert.equal(where.title, "The title");
  assert.equal(new URL(where.url, fixture.site.url).pathname, pathname);
  assert.doesNotMatch(where.url, /secret|\?/);
  assert.equal(where.selection ?? "", "");
  assert.deepEqual(filter, { version: "current", language: "en" });
  assert.deepEqual(Object.keys(rest).sort(), ["history", "query"]);
});

test("the attribute filter replaces what is read from the page", async (t) => {
  const own = await fixture.openPage(t, { head: META, data: { filter: '{"version":"sample"}' } });
  await own.chat.open();
  await own.chat.ask(QUESTION);
  await own.chat.waitForEnd();
  assert.deepEqual((await readLastRequest(own.page)).filter, { version: "sample" });
  const none = await fixture.openPage(t, { head: META, data: { filter: "{}" } });
  await none.chat.open();
  await none.chat.ask(QUESTION);
  await none.chat.waitForEnd();
  assert.deepEqual((await readLastRequest(none.page)).filter ?? {}, {});
  const plain = await fixture.openChat(t);
  await plain.chat.ask(QUESTION);
  await plain.chat.waitForEnd();
  assert.deepEqual((await readLastRequest(plain.page)).filter ?? {}, {});
});

test("the theme is that of the attribute, else of the page, else of the system, and changes at once", async (t) => {
  const isDark = (/** @type {any} */ chat) =>
    chat.dialog.evaluate((/** @type {Element} */ panel) => {
      const [, l] = getComputedStyle(panel).backgroundColor.match(/(\d+)/) ?? [];
      return Number(l) < 128;
    });
  const system = await fixture.openChat(t, { context: { colorScheme: "dark" } });
  assert.equal(await isDark(system.chat), true);
  await system.page.emulateMedia({ colorScheme: "light" });
  assert.equal(await isDark(system.chat), false);
  await system.page.evaluate(() => (document.documentElement.dataset.theme = "dark"));
  assert.equal(await isDark(system.chat), true);
  await system.page.evaluate(() => (document.documentElement.dataset.theme = "light"));
  assert.equal(await isDark(system.chat), false);
  const fixed = await fixture.openChat(t, {
    data: { theme: "dark" },
    context: { colorScheme: "light" },
  });
  assert.equal(await isDark(fixed.chat), true);
  await fixed.page.evaluate(() => (document.documentElement.dataset.theme = "light"));
  assert.equal(await isDark(fixed.chat), true);
});

test("the attribute shortcut names another key, or none", async (t) => {
  const other = await fixture.openPage(t, { data: { shortcut: "mod+shift+a" } });
  await other.chat.opener.waitFor();
  await other.page.keyboard.press("Control+i");
  assert.equal(await other.chat.box.count(), 0);
  await other.page.keyboard.press("Control+Shift+A");
  await other.chat.box.waitFor();
  const none = await fixture.openPage(t, { data: { shortcut: "none" } });
  await none.chat.opener.waitFor();
  await none.page.keyboard.press("Control+i");
  assert.equal(await none.chat.box.count(), 0);
});

test("questions go to the attribute server, wherever widget.js came from", async (t) => {
  const other = await fixture.startDocent({});
  const { page, chat } = await fixture.openChat(t, { data: { server: other.url } });
  const asked = /** @type {string[]} */ ([]);
  page.on("request", (sent) => sent.method() === "POST" && asked.push(sent.url()));
  await chat.ask(QUESTION);
  assert.equal(await chat.waitForEnd(), "answered");
  assert.deepEqual(asked, [`${other.url}/chat`]);
});

/** Selects the prose of the page as a mouse does. @param {import("playwright-core").Page} page */
const selectProse = (page) => page.locator("#prose").click({ clickCount: 3 });

test("selected text can be asked about", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  await chat.opener.waitFor();
  assert.equal(await chat.about.isVisible(), false);
  await selectProse(page);
  await chat.button("Ask about this").click();
  await chat.box.waitFor();
  const prose = "Docent writes one line per request to standard error.";
  assert.ok((await chat.host.locator(".quote").innerText()).includes(prose));
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  assert.equal((await readLastRequest(page)).page.selection, prose);
  assert.ok(JSON.stringify(fixture.gemini.calls.at(-1)).includes(prose), "Gemini is told");
  await chat.ask(`${QUESTION} once more`);
  await chat.waitForEnd();
  assert.equal(
    (await readLastRequest(page)).page.selection ?? "",
    "",
    "it belongs to one question",
  );
});

test("the quoted text can be removed", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await chat.open({ selection: "Some selected text", question: "What is it?" });
  assert.equal(await chat.box.inputValue(), "What is it?");
  await chat.button("Remove the quoted text").click();
  assert.equal(await chat.host.locator(".quote").isVisible(), false);
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  assert.equal((await readLastRequest(page)).page.selection ?? "", "");
});

test("no button is added beside selected text where the attribute selection is off", async (t) => {
  const { page, chat } = await fixture.openPage(t, { data: { selection: "off" } });
  await chat.opener.waitFor();
  await selectProse(page);
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
  assert.equal(await chat.about.isVisible(), false);
});

test("no button is added beside text that is selected in the page's own inputs", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  await chat.opener.waitFor();
  await page.locator("#search").fill("some words");
  await page.locator("#search").click({ clickCount: 3 });
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 50)));
  assert.equal(await chat.about.isVisible(), false);
});

test("the methods of the element open, ask and close, and its fetch is used", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  await chat.host.waitFor({ state: "attached" });
  await page.evaluate(async (question) => {
    await customElements.whenDefined("docent-chat");
    const chat = /** @type {any} */ (document.querySelector("docent-chat"));
    /** @param {...any} request */
    chat.fetch = (...request) => {
      /** @type {any} */ (window).fetched = String(request[0]);
      return window.fetch(.../** @type {[any]} */ (request));
    };
    chat.ask(question);
  }, QUESTION);
  assert.equal(await chat.waitForEnd(), "answered");
  assert.equal(
    await page.evaluate(() => /** @type {any} */ (window).fetched),
    `${fixture.docent.url}/chat`,
  );
  await chat.host.evaluate((host) => /** @type {any} */ (host).close());
  await chat.dialog.waitFor({ state: "hidden" });
});

test("events tell what was asked, answered and followed", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("events", answerWith("It *is* [1]."));
  await chat.ask(`${QUESTION} events`);
  await chat.waitForState("answered");
  const [asked] = await readEvents(page, "ask");
  assert.equal(asked.query, `${QUESTION} events`);
  assert.equal(asked.request.query, asked.query);
  const [{ sources, request_id, model, usage, timings, ...answer }] = await readEvents(
    page,
    "answer",
  );
  assert.deepEqual(answer, {
    name: "answer",
    query: `${QUESTION} events`,
    text: "It *is* [1].",
    status: "answered",
    finish_reason: "stop",
    cited: [1],
    stopped: false,
  });
  assert.match(request_id, /^[\w-]{8,}$/);
  assert.ok(sources[0].snippet);
  await page.evaluate(() =>
    document.addEventListener("docent:navigate", (event) => event.preventDefault()),
  );
  const here = page.url();
  await chat.citations.first().click();
  await chat.dialog.waitFor({ state: "hidden" });
  const [followed] = await readEvents(page, "navigate");
  assert.equal(followed.url, new URL(sources[0].url, fixture.site.url).href);
  assert.equal(page.url(), here, "a cancelled one goes nowhere");
});

test("a citation clicked with a modifier key is left to the browser", async (t) => {
  const { page, context, chat } = await fixture.openChat(t);
  await chat.ask(QUESTION);
  await chat.waitForState("answered");
  const [opened] = await Promise.all([
    context.waitForEvent("page"),
    chat.citations.first().click({ modifiers: ["Control"] }),
  ]);
  await opened.waitForURL(/\/docs\//);
  assert.deepEqual(await readEvents(page, "navigate"), []);
  assert.ok(await chat.dialog.isVisible());
});

test("an element that is taken out of the page stops and leaves nothing behind", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const left = new Promise((resolve) =>
    fixture.gemini.script("removed", async (reply) => {
      reply.sendText("Some words ");
      await reply.left;
      resolve(null);
    }),
  );
  await chat.ask(`${QUESTION} removed`);
  await chat.answer.getByText("Some words").waitFor();
  await chat.host.evaluate((host) => host.remove());
  await left;
  await page.keyboard.press("Control+i");
  assert.equal(await page.locator("docent-chat, dialog").count(), 0);
});

test("a server that is gone when the chat is opened is reported", async (t) => {
  const { page, chat } = await fixture.openPage(t, { expected: [/ERR_|docent-chat/] });
  await page.route("**/widget/*", (route) => route.abort());
  await chat.opener.click();
  await chat.host.getByRole("alert").waitFor();
  assert.match(await chat.host.getByRole("alert").innerText(), /could not be loaded/);
  await page.unroute("**/widget/*");
  await chat.opener.click();
  await chat.box.waitFor();
});
