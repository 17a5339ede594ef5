// Tests that hostile text stays text, wherever it comes from.

import assert from "node:assert/strict";
import { test } from "node:test";

import { DONE, scriptEvents, SOURCE } from "./scripted.mjs";
import { startFixture } from "./fixture.mjs";

const fixture = startFixture();

/** Payloads that run in a page that takes text for HTML, or Markdown for more than it is. */
const PAYLOADS = [
  `<img src=x onerror="window.hit=1">`,
  `<script>window.hit=1</script>`,
  `<svg onload="window.hit=1"><script>window.hit=1</script></svg>`,
  `<iframe src="javascript:parent.hit=1"></iframe>`,
  `<iframe srcdoc="<script>parent.hit=1</script>"></iframe>`,
  `"><img src=x onerror=window.hit=1>`,
  `'><svg/onload=window.hit=1>`,
  `<style>@import "data:text/css,*{display:none}"</style>`,
  `<math><mtext><table><mglyph><style><img src=x onerror=window.hit=1>`,
  `<details open ontoggle=window.hit=1>x</details>`,
  `<a href="javascript:window.hit=1">x</a>`,
  `[x](javascript:window.hit=1)`,
  `[x](<java\nscript:window.hit=1>)`,
  `[x](data:text/html,<script>window.hit=1</script> "title")`,
  `![x](x" onerror="window.hit=1)`,
  `![x](https://example.com/leak.png)`,
  `<javascript:window.hit=1>`,
  `[x]: javascript:window.hit=1\n\n[x]`,
  "```html\n<img src=x onerror=window.hit=1>\n```\n\n`<script>window.hit=1</script>`",
  `&lt;img src=x onerror=window.hit=1&gt; &#60;script&#62;window.hit=1&#60;/script&#62;`,
  `| <b onclick=window.hit=1>a</b> |\n|---|\n| <img src=x onerror=window.hit=1> |`,
  `[x](https://example.com/" onmouseover="window.hit=1)`,
  `{{constructor.constructor('window.hit=1')()}} \${window.hit=1}`,
  `__proto__ constructor toString [__proto__] [constructor]`,
];

/** Addresses that must never become a link. */
const URLS = [
  "javascript:window.hit=1",
  "JaVaScRiPt:window.hit=1",
  " javascript:window.hit=1",
  "java\nscript:window.hit=1",
  "java\tscript:window.hit=1",
  "\u0001javascript:window.hit=1",
  "javascript&colon;window.hit=1",
  "javascript:/*--></title></style></textarea></script></xmp><svg/onload='window.hit=1'>",
  "data:text/html,<script>window.hit=1</script>",
  "data:text/html;base64,PHNjcmlwdD53aW5kb3cuaGl0PTE8L3NjcmlwdD4=",
  "DATA:image/svg+xml,<svg onload='window.hit=1'/>",
  "vbscript:window.hit=1",
  "blob:http://localhost/1",
  "file:///etc/passwd",
  "view-source:http://localhost/",
  "about:blank",
  "ftp://example.com/",
  "intent://x#Intent;scheme=http;end",
  "chrome://settings",
  "ws://example.com",
  "https://",
  "http://[",
];

/**
 * Returns the elements, attributes and links that must not be in the widget.
 * @param {import("./widget.mjs").locateWidget extends (...a: any) => infer C ? C : never} chat
 */
const findForeignNodes = (chat) =>
  chat.host.evaluate((host) => {
    const root = /** @type {ShadowRoot} */ (host.shadowRoot);
    const found = /** @type {string[]} */ ([]);
    for (const element of root.querySelectorAll("*")) {
      const name = element.localName;
      if (
        /^(img|script|iframe|style|object|embed|math|base|meta|link|video|audio|frame|details)$/.test(
          name,
        )
      )
        found.push(`<${name}>`);
      if (name === "svg" && element.closest(".question, .sources, .preview, .quote"))
        found.push("<svg>");
      const isPlaced = element.matches(".about, .preview"); // by the widget itself, where they belong
      for (const attribute of element.attributes)
        if (/^on|^style$|^srcdoc$|^formaction$/.test(attribute.name))
          if (attribute.name !== "style" || !isPlaced) found.push(`${name} ${attribute.name}`);
      if (name === "a" && element.hasAttribute("href")) {
        const { protocol } = /** @type {HTMLAnchorElement} */ (element);
        if (!/^(https?|mailto):$/.test(protocol))
          found.push(`link ${element.getAttribute("href")}`);
      }
    }
    return found;
  });

/**
 * Builds an answer in which every text is hostile.
 * @param {string} text @param {string} url @returns {[string, object][]}
 */
const buildHostileAnswer = (text, url) => {
  const source = { ...SOURCE, title: text, section: text, snippet: text };
  return [
    [
      "sources",
      {
        request_id: text,
        sources: [source, { ...source, number: 2, url }, { ...source, number: 3, url: "" }],
      },
    ],
    ["token", { text: `${text} [1] [2] [3] [x](${url}) <${url}>` }],
    ["token", { text: `\n\n${text}` }],
    ["done", { ...DONE, model: text, cited: [1, 2, 3] }],
  ];
};

/**
 * Hovers and focuses the citations, since a payload may wait for that.
 * @param {import("playwright-core").Page} page @param {any} chat
 */
async function touchCitations(page, chat) {
  for (const citation of await chat.citations.all()) {
    await citation.hover();
    await citation.focus();
  }
  await page.mouse.move(1, 1);
}

test("hostile questions, passages and answers stay text", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  for (const [n, payload] of PAYLOADS.entries()) {
    await scriptEvents(page, buildHostileAnswer(payload, "javascript:window.hit=1"));
    await chat.ask(payload);
    assert.equal(await chat.waitForEnd(), "answered", payload);
    await touchCitations(page, chat);
    assert.deepEqual(await findForeignNodes(chat), [], payload);
    const question = await chat.turns.last().locator(".question").innerText();
    assert.ok(question.includes(payload.split("\n")[0].trim()), `${question} shows ${payload}`);
    if (n % 8 === 7) await chat.button("New conversation").click();
  }
});

test("only http, https and mailto become links", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  for (const [n, url] of URLS.entries()) {
    await scriptEvents(page, buildHostileAnswer("harmless", url));
    await chat.ask("Anything?");
    assert.equal(await chat.waitForEnd(), "answered", url);
    assert.deepEqual(await findForeignNodes(chat), [], url);
    if (n % 8 === 7) await chat.button("New conversation").click();
  }
});

test("hostile words of a problem stay text", async (t) => {
  const { page, chat } = await fixture.openChat(t, { expected: [/status of 502/] });
  for (const payload of PAYLOADS.slice(0, 8)) {
    const problem = { type: payload, title: payload, status: 502, detail: payload, code: payload };
    await page.unroute("**/chat");
    await page.route("**/chat", (route) =>
      route.fulfill({
        status: 502,
        contentType: "application/problem+json",
        headers: { "access-control-allow-origin": "*" },
        body: JSON.stringify({
          ...problem,
          retryable: true,
          retry_after: payload,
          request_id: payload,
        }),
      }),
    );
    await chat.ask("Anything?");
    assert.equal(await chat.waitForEnd(), "error");
    assert.deepEqual(await findForeignNodes(chat), [], payload);
  }
});

test("a hostile conversation in the tab's storage stays text", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await scriptEvents(page, [
    ["sources", { request_id: "r", sources: [SOURCE] }],
    ["token", { text: "Fine [1]." }],
    ["done", DONE],
  ]);
  await chat.ask("Anything?");
  await chat.waitForState("answered");
  const stored = await page.evaluate(() => ({ ...sessionStorage }));
  assert.ok(JSON.stringify(stored).includes("Fine [1]."), "the conversation is stored");
  for (const payload of [...PAYLOADS, ...URLS]) {
    await page.evaluate(([entries, evil]) => {
      // Every text a hostile one, but short words, which name states and roles.
      const spoil = (/** @type {any} */ value) =>
        JSON.stringify(value, (_, v) =>
          typeof v === "string" && !/^[a-z_]+$/.test(v) ? `${evil} [1]` : v,
        );
      const urls = (/** @type {any} */ value) =>
        JSON.stringify(value, (key, v) => (key === "url" ? evil : v));
      for (const [key, text] of Object.entries(/** @type {object} */ (entries)))
        sessionStorage.setItem(key, urls(JSON.parse(spoil(JSON.parse(text)))));
    }, /** @type {[object, string]} */ ([stored, payload]));
    await page.reload();
    await chat.open();
    await chat.turns
      .first()
      .waitFor({ state: "attached", timeout: 2_000 })
      .catch(() => {});
    assert.deepEqual(await findForeignNodes(chat), [], payload);
    for (const link of await chat.host.locator(".turn a").all())
      assert.match(
        await link.evaluate((a) => /** @type {any} */ (a).protocol),
        /^(https?|mailto):$/,
      );
  }
});

test("hostile attributes, titles and selections stay text", async (t) => {
  for (const payload of PAYLOADS.slice(0, 8)) {
    const { page, chat } = await fixture.openPage(t, {
      data: { suggestions: `${payload}|two`, words: JSON.stringify({ placeholder: payload }) },
    });
    await page.evaluate((text) => (document.title = text), payload);
    await page.evaluate((text) => {
      /** @type {HTMLElement} */ (document.querySelector("#prose")).textContent = text;
    }, payload);
    await chat.open({ question: payload, selection: payload });
    assert.ok((await chat.host.locator(".quote").innerText()).includes(payload.slice(0, 10)));
    assert.equal(await chat.box.inputValue(), payload.replaceAll("\r", ""));
    assert.deepEqual(await findForeignNodes(chat), [], payload);
    await page.close();
  }
});

test("attributes that are no JSON are reported on the console and otherwise ignored", async (t) => {
  for (const junk of ["{", "7", "null", "[]", '"x"', '{"version":{"deep":1}}']) {
    const { chat } = await fixture.openPage(t, {
      data: { words: junk, filter: junk },
      expected: [/./],
    });
    await chat.open();
    assert.ok(await chat.box.isVisible(), junk);
  }
});
