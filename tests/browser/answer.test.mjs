// An answer as it is written, rendered, cited, stopped and tried again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { gate, whole } from "./gemini.mjs";
import { DONE, script, SOURCE } from "./scripted.mjs";
import { told } from "./widget.mjs";
import { QUESTION, world } from "./world.mjs";

const w = world();

const MARKDOWN = `A paragraph with *emphasis*, **weight**, \`code\` and a [link](https://example.com/a?b=c&d) [1].

## A heading

- one
  - one and a half
    - three deep
- two [2]

1. first
2. second

| Setting | Meaning |
|---|:---:|
| \`PORT\` | the *port* [1] |
| \`HOST\` | the host |

> A quote
> of two lines.

\`\`\`sh
docent serve --port 1
# [1] is no citation here
\`\`\`

The end.`;

/** @param {string} text @param {number} size */
const pieces = (text, size) => text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];

test("sources stand there before the first word, and words before the end", async (t) => {
  const { chat } = await w.chat(t);
  const [first, rest] = [gate(), gate()];
  w.gemini.on(QUESTION, async (reply) => {
    await first.opened;
    reply.text("The first words ");
    await rest.opened;
    reply.text("and the last [1].");
    reply.finish();
  });
  await chat.ask(QUESTION);
  await chat.sources.first().waitFor();
  await chat.state("writing");
  assert.equal((await chat.answer.allInnerTexts()).join("").trim(), "");
  first.open();
  await chat.answer.getByText("The first words").waitFor();
  await chat.state("writing");
  rest.open();
  await chat.state("answered");
  assert.match(await chat.answer.innerText(), /The first words and the last/);
});

test("while the docs are searched the turn says so", async (t) => {
  const { page, chat } = await w.chat(t);
  const search = gate();
  await page.route("**/chat", async (route) => {
    await search.opened;
    await route.continue();
  });
  w.gemini.on("searched", whole("Yes [1]."));
  await chat.ask(`${QUESTION} searched`);
  await chat.state("searching");
  search.open();
  await chat.state("answered");
});

test("Markdown becomes elements", async (t) => {
  const { chat } = await w.chat(t);
  w.gemini.on("Markdown", whole(...pieces(MARKDOWN, 7)));
  await chat.ask(`${QUESTION} Markdown`);
  await chat.state("answered");
  const counts = await chat.answer.evaluate((answer) => {
    const wanted = {
      "p em": "emphasis",
      "p strong": "weight",
      "p code": "code",
      "ul > li > ul > li > ul > li": "three deep",
      "ol > li:nth-child(2)": "second",
      "table thead th:nth-child(2)": "Meaning",
      "table tbody tr:nth-child(2) td code": "HOST",
      "td em": "port",
      "blockquote p, blockquote": "A quote",
      "pre code": "docent serve --port 1\n# [1] is no citation here",
      "h1, h2, h3, h4, h5, h6": "A heading",
    };
    return Object.entries(wanted)
      .filter(
        ([selector, text]) =>
          ![...answer.querySelectorAll(selector)].some((e) => e.textContent?.includes(text)),
      )
      .map(([selector]) => selector);
  });
  assert.deepEqual(counts, [], "nothing in the answer is one of these");
  const link = chat.answer.getByRole("link", { name: "link", exact: true });
  assert.equal(await link.getAttribute("href"), "https://example.com/a?b=c&d");
  assert.equal(await chat.answer.locator("pre a").count(), 0);
  assert.equal(await chat.citations.count(), 3);
  const text = await chat.answer.innerText();
  assert.doesNotMatch(text, /\*|```|\|--|^>/m);
});

test("a block that is finished keeps its elements while later text arrives", async (t) => {
  const { chat } = await w.chat(t);
  const rest = gate();
  w.gemini.on("identity", async (reply) => {
    reply.text(...pieces(MARKDOWN, 11));
    await rest.opened;
    reply.text("\n\nMore ", "words ", "and *more*.\n\n- a\n- b");
    reply.finish();
  });
  await chat.ask(`${QUESTION} identity`);
  await chat.answer.getByText("The end").waitFor();
  const before = await chat.answer.evaluate((answer) => {
    const marked = [...answer.querySelectorAll("*")].filter(
      (e) => !e.contains(answer.lastElementChild),
    );
    const last = answer.lastElementChild;
    /** @type {any} */ (window).marked = marked.filter((e) => !last?.contains(e));
    return /** @type {any} */ (window).marked.length;
  });
  assert.ok(before > 25, `${before} elements are finished`);
  rest.open();
  await chat.state("answered");
  const lost = await chat.answer.evaluate((answer) =>
    /** @type {any} */ (window).marked
      .filter((/** @type {Element} */ e) => !answer.contains(e))
      .map((/** @type {Element} */ e) => e.outerHTML.slice(0, 80)),
  );
  assert.deepEqual(lost, []);
});

test("a citation shows its passage when hovered and when focused", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("preview", whole("One [1] and two [2]."));
  await chat.ask(`${QUESTION} preview`);
  await chat.state("answered");
  const [answer] = await told(page, "answer");
  /** @param {number} n */
  const beginning = (n) => answer.sources[n].snippet.trim().slice(0, 15);
  await chat.citations.first().hover();
  await chat.preview.waitFor();
  assert.ok((await chat.preview.innerText()).length > 20);
  const first = await chat.preview.innerText();
  await page.mouse.move(2, 2);
  await chat.preview.waitFor({ state: "hidden" });
  await chat.citations.last().focus();
  await chat.preview.waitFor();
  const second = await chat.preview.innerText();
  assert.notEqual(second, first);
  assert.ok(second.includes(answer.sources[1].title), `${second} names ${beginning(1)}`);
  await chat.box.focus();
  await chat.preview.waitFor({ state: "hidden" });
});

test("a citation that must be scrolled to when it is focused shows its passage too", async (t) => {
  const { page, chat } = await w.chat(t, { context: { viewport: { width: 360, height: 500 } } });
  w.gemini.on("far down", whole("Words [1].\n\n".repeat(40), "The last [2]."));
  await chat.ask(`${QUESTION} far down`);
  await chat.state("answered");
  await chat.box.focus();
  await chat.citations.first().focus();
  await chat.citations.last().focus();
  // The scrolling that focus causes is told two frames later at most.
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
  );
  assert.equal(await chat.preview.isVisible(), true);
});

test("a citation leads to its heading", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("heading", whole("See [1]."));
  await chat.ask(`${QUESTION} heading`);
  await chat.state("answered");
  const [{ sources }] = await told(page, "answer");
  await Promise.all([page.waitForURL(/\/docs\/.+#.+/), chat.citations.first().click()]);
  assert.equal(page.url(), new URL(sources[0].url, w.site.url).href);
});

test("a citation of another origin opens in a new tab", async (t) => {
  const { page, context, chat } = await w.chat(t);
  const url = `${w.site.url.replace("localhost", "127.0.0.1")}/docs/elsewhere#x`;
  await script(page, [
    ["sources", { request_id: "r", sources: [{ ...SOURCE, url }] }],
    ["token", { text: "See [1]." }],
    ["done", DONE],
  ]);
  await chat.ask("Anything?");
  await chat.state("answered");
  const here = page.url();
  const [opened] = await Promise.all([context.waitForEvent("page"), chat.citations.click()]);
  await opened.waitForURL(url);
  assert.equal(page.url(), here);
  assert.equal(await opened.evaluate(() => window.opener), null);
});

/** How an answer can end, by what Gemini does. @type {[string, import("./gemini.mjs").Script][]} */
const ENDS = [
  ["answered", whole("Set it [1].")],
  ["uncited", whole("Set it.")],
  ["not_in_docs", whole("[NOT_IN_DOCS] The docs say how to start it.")],
  ["max_tokens", (reply) => (reply.text("Half an [1]"), reply.finish("MAX_TOKENS"))],
  ["safety", (reply) => (reply.text("Half an [1]"), reply.finish("SAFETY"))],
  ["recitation", (reply) => (reply.text("Half an [1]"), reply.finish("RECITATION"))],
  ["blocked", (reply) => reply.block()],
  ["other", (reply) => (reply.text("Half an [1]"), reply.finish("OTHER"))],
  ["error", (reply) => reply.error(503, "UNAVAILABLE")],
];

for (const [state, end] of ENDS) {
  test(`an answer that ends as ${state} is told as such`, async (t) => {
    const { page, chat } = await w.chat(t);
    w.gemini.on(`ends ${state}`, end);
    await chat.ask(`${QUESTION} ends ${state}`);
    assert.equal(await chat.ended(), state);
    const words = await chat.said();
    if (state !== "answered") assert.ok(words.length > 10, `says "${words}"`);
    const half = ["max_tokens", "safety", "recitation", "other"].includes(state);
    if (half) assert.match(await chat.answer.innerText(), /Half an/);
    const [event] = await told(page, state === "error" ? "error" : "answer");
    if (state === "error") assert.equal(event.problem.code, "upstream_busy");
    else assert.equal(event.cited.length > 0, /\[1\]/.test(event.text));
  });
}

test("all ends read differently", async (t) => {
  const { chat } = await w.chat(t);
  const words = new Set();
  for (const [state, end] of ENDS) {
    w.gemini.on(`differ ${state}`, end);
    await chat.ask(`${QUESTION} differ ${state}`);
    assert.equal(await chat.ended(), state);
    words.add(await chat.said());
  }
  // Where the model or its provider refused, a reader need not know why.
  assert.ok(words.size >= 7, [...words].join("\n"));
});

test("when the day's budget is spent the sources are shown alone", async (t) => {
  const docent = await w.another({ DAILY_REQUESTS: "1" });
  const { chat } = await w.chat(t, { from: docent.url });
  await chat.ask(QUESTION);
  await chat.ended();
  await chat.ask(`${QUESTION} again`);
  assert.equal(await chat.ended(), "search_only");
  assert.ok((await chat.sources.count()) > 0);
});

test("a failure inside the stream keeps what was written and can be tried again", async (t) => {
  const { chat } = await w.chat(t);
  w.gemini.on("broke off", (reply) => (reply.text("Half an [1]"), reply.truncate()));
  await chat.ask(`${QUESTION} broke off`);
  assert.equal(await chat.ended(), "error");
  assert.match(await chat.answer.innerText(), /Half an/);
  w.gemini.on("broke off", whole("Whole [1]."));
  await chat.button("Try again").click();
  await chat.state("answered");
  assert.equal(await chat.turns.count(), 1);
  assert.match(await chat.answer.innerText(), /^Whole/);
  assert.doesNotMatch(await chat.answer.innerText(), /Half/);
});

test("a problem before the stream is shown as its sentence", async (t) => {
  const { page, chat } = await w.chat(t, { expected: [/status of 502/] });
  const problem = {
    type: "urn:docent:problem:retrieval_failed",
    title: "Retrieval failed",
    status: 502,
    detail: "The documentation could not be searched.",
    code: "retrieval_failed",
    retryable: false,
    request_id: "mine",
  };
  await page.route("**/chat", (route) =>
    route.fulfill({
      status: 502,
      contentType: "application/problem+json",
      headers: { "access-control-allow-origin": "*" },
      body: JSON.stringify(problem),
    }),
  );
  await chat.ask("Anything?");
  assert.equal(await chat.ended(), "error");
  assert.ok((await chat.turns.last().innerText()).includes(problem.detail));
  assert.equal(await chat.button("Try again").count(), 0, "asking again cannot help");
  const [event] = await told(page, "error");
  assert.deepEqual([event.query, event.problem], ["Anything?", problem]);
});

for (const [what, fulfil] of /** @type {[string, object][]} */ ([
  ["a page of a proxy", { status: 502, contentType: "text/html", body: "<h1>Bad Gateway</h1>" }],
  ["a 200 that is no stream", { status: 200, contentType: "text/html", body: "<p>login</p>" }],
  [
    "a problem that is no JSON",
    { status: 500, contentType: "application/problem+json", body: "{" },
  ],
])) {
  test(`${what} instead of an answer is an error in words`, async (t) => {
    const { page, chat } = await w.chat(t, { expected: [/status of 50/] });
    const headers = { "access-control-allow-origin": "*" };
    await page.route("**/chat", (route) => route.fulfill({ headers, ...fulfil }));
    await chat.ask("Anything?");
    assert.match(String(await chat.ended()), /error|cut/);
    const words = await chat.said();
    assert.match(words, /\w+ \w+/);
    assert.doesNotMatch(words, /undefined|null|NaN|JSON|\[object/);
  });
}

test("no server at all is an error that can be tried again", async (t) => {
  const { page, chat } = await w.chat(t, { expected: [/ERR_/] });
  await page.route("**/chat", (route) => route.abort("connectionrefused"));
  await chat.ask(`${QUESTION} abort`);
  assert.match(String(await chat.ended()), /error|cut/);
  await page.unroute("**/chat");
  w.gemini.on("abort", whole("There [1]."));
  await chat.button("Try again").click();
  await chat.state("answered");
});

test("a reader who asks too often is told when to try again, and the button waits", async (t) => {
  const docent = await w.another({ RATE_LIMIT: "1" });
  const { page, chat } = await w.visit(t, { from: docent.url, expected: [/status of 429/] });
  await page.clock.install();
  await chat.open();
  await chat.ask(QUESTION);
  await chat.ended();
  await chat.ask(`${QUESTION} at once`);
  assert.equal(await chat.ended(), "error");
  const waiting = chat.host.getByRole("button", { name: /^Try again in \d+ s$/ });
  await waiting.waitFor();
  assert.equal(await waiting.isDisabled(), true);
  const seconds = async () => Number((await waiting.innerText()).replace(/\D/g, ""));
  const before = await seconds();
  assert.ok(before > 1 && before <= 60, `${before} s`);
  await page.clock.runFor(2_000);
  assert.ok((await seconds()) < before);
  await page.clock.runFor(60_000);
  await chat.button("Try again").waitFor();
  assert.equal(await chat.button("Try again").isEnabled(), true);
});

test("a proxy that asks to wait is waited for, though it knows no problem objects", async (t) => {
  const { page, chat } = await w.chat(t, { expected: [/status of 503/] });
  await page.route("**/chat", (route) =>
    route.fulfill({
      status: 503,
      contentType: "text/html",
      headers: {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "retry-after",
        "retry-after": "40",
      },
      body: "<h1>Busy</h1>",
    }),
  );
  await chat.ask("Anything?");
  assert.equal(await chat.ended(), "error");
  const waiting = chat.host.getByRole("button", { name: /^Try again in (40|3\d) s$/ });
  await waiting.waitFor();
  assert.equal(await waiting.isDisabled(), true);
});

test("stop ends the answer here, in Docent and at Gemini", async (t) => {
  const { page, chat } = await w.chat(t);
  const left = gate();
  w.gemini.on("stopped", async (reply) => {
    reply.text("The first words ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} stopped`);
  await chat.answer.getByText("The first words").waitFor();
  await chat.button("Stop").click();
  await chat.state("stopped");
  await left.opened;
  assert.match(await chat.answer.innerText(), /The first words/);
  const [event] = await told(page, "answer");
  assert.equal(event.stopped, true);
  await chat.button("Send").waitFor();
});

test("stop while the docs are still searched ends the turn too", async (t) => {
  const { page, chat } = await w.chat(t);
  await page.route("**/chat", () => {});
  await chat.ask(QUESTION);
  await chat.state("searching");
  await chat.button("Stop").click();
  await chat.state("stopped");
});

test("an answer and a block of code can be copied", async (t) => {
  const { page, chat } = await w.chat(t, {
    context: { permissions: ["clipboard-read", "clipboard-write"] },
  });
  w.gemini.on("copied", whole(...pieces(MARKDOWN, 5)));
  await chat.ask(`${QUESTION} copied`);
  await chat.state("answered");
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await chat.button("Copy code").click();
  await page.waitForFunction(async () =>
    (await navigator.clipboard.readText()).startsWith("docent"),
  );
  assert.equal((await clipboard()).trimEnd(), "docent serve --port 1\n# [1] is no citation here");
  await chat.button("Copy answer").click();
  await page.waitForFunction(async () =>
    (await navigator.clipboard.readText()).startsWith("A para"),
  );
  const copied = await clipboard();
  assert.ok(copied.includes("| `PORT` | the *port* [1] |"), copied);
});
