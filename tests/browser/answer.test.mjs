// Tests how an answer is written, rendered, cited, stopped and tried again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith, createGate } from "./gemini.mjs";
import { DONE, scriptEvents, SOURCE } from "./scripted.mjs";
import { readEvents } from "./widget.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

const fixture = startFixture();

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
const splitText = (text, size) => text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];

test("sources are shown before the first word, and words before the end", async (t) => {
  const { chat } = await fixture.openChat(t);
  const [first, rest] = [createGate(), createGate()];
  fixture.gemini.script(QUESTION, async (reply) => {
    await first.opened;
    reply.sendText("The first words ");
    await rest.opened;
    reply.sendText("and the last [1].");
    reply.finishStream();
  });
  await chat.ask(QUESTION);
  await chat.sources.first().waitFor();
  await chat.waitForState("writing");
  assert.equal((await chat.answer.allInnerTexts()).join("").trim(), "");
  first.open();
  await chat.answer.getByText("The first words").waitFor();
  await chat.waitForState("writing");
  rest.open();
  await chat.waitForState("answered");
  assert.match(await chat.answer.innerText(), /The first words and the last/);
});

test("a turn says that the docs are being searched", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const search = createGate();
  await page.route("**/chat", async (route) => {
    await search.opened;
    await route.continue();
  });
  fixture.gemini.script("searched", answerWith("Yes [1]."));
  await chat.ask(`${QUESTION} searched`);
  await chat.waitForState("searching");
  search.open();
  await chat.waitForState("answered");
});

test("Markdown becomes elements", async (t) => {
  const { chat } = await fixture.openChat(t);
  fixture.gemini.script("Markdown", answerWith(...splitText(MARKDOWN, 7)));
  await chat.ask(`${QUESTION} Markdown`);
  await chat.waitForState("answered");
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
  const { chat } = await fixture.openChat(t);
  const rest = createGate();
  fixture.gemini.script("identity", async (reply) => {
    reply.sendText(...splitText(MARKDOWN, 11));
    await rest.opened;
    reply.sendText("\n\nMore ", "words ", "and *more*.\n\n- a\n- b");
    reply.finishStream();
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
  await chat.waitForState("answered");
  const lost = await chat.answer.evaluate((answer) =>
    /** @type {any} */ (window).marked
      .filter((/** @type {Element} */ e) => !answer.contains(e))
      .map((/** @type {Element} */ e) => e.outerHTML.slice(0, 80)),
  );
  assert.deepEqual(lost, []);
});

test("a citation shows its passage when hovered and when focused", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("preview", answerWith("One [1] and two [2]."));
  await chat.ask(`${QUESTION} preview`);
  await chat.waitForState("answered");
  const [answer] = await readEvents(page, "answer");
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
  const { page, chat } = await fixture.openChat(t, {
    context: { viewport: { width: 360, height: 500 } },
  });
  fixture.gemini.script("far down", answerWith("Words [1].\n\n".repeat(40), "The last [2]."));
  await chat.ask(`${QUESTION} far down`);
  await chat.waitForState("answered");
  await chat.box.focus();
  await chat.citations.first().focus();
  await chat.citations.last().focus();
  // The event of the scrolling that focus causes comes two frames later at most.
  await page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
  );
  assert.equal(await chat.preview.isVisible(), true);
});

test("a citation leads to its heading", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("heading", answerWith("See [1]."));
  await chat.ask(`${QUESTION} heading`);
  await chat.waitForState("answered");
  const [{ sources }] = await readEvents(page, "answer");
  await Promise.all([page.waitForURL(/\/docs\/.+#.+/), chat.citations.first().click()]);
  assert.equal(page.url(), new URL(sources[0].url, fixture.site.url).href);
});

test("a citation of another origin opens in a new tab", async (t) => {
  const { page, context, chat } = await fixture.openChat(t);
  const url = `${fixture.site.url.replace("localhost", "127.0.0.1")}/docs/elsewhere#x`;
  await scriptEvents(page, [
    ["sources", { request_id: "r", sources: [{ ...SOURCE, url }] }],
    ["token", { text: "See [1]." }],
    ["done", DONE],
  ]);
  await chat.ask("Anything?");
  await chat.waitForState("answered");
  const here = page.url();
  const [opened] = await Promise.all([context.waitForEvent("page"), chat.citations.click()]);
  await opened.waitForURL(url);
  assert.equal(page.url(), here);
  assert.equal(await opened.evaluate(() => window.opener), null);
});

/** Ends of an answer, by what Gemini does. @type {[string, import("./gemini.mjs").Script][]} */
const ENDS = [
  ["answered", answerWith("Set it [1].")],
  ["uncited", answerWith("Set it.")],
  ["not_in_docs", answerWith("[NOT_IN_DOCS] The docs say how to start it.")],
  ["max_tokens", (reply) => (reply.sendText("Half an [1]"), reply.finishStream("MAX_TOKENS"))],
  ["safety", (reply) => (reply.sendText("Half an [1]"), reply.finishStream("SAFETY"))],
  ["recitation", (reply) => (reply.sendText("Half an [1]"), reply.finishStream("RECITATION"))],
  ["blocked", (reply) => reply.blockPrompt()],
  ["other", (reply) => (reply.sendText("Half an [1]"), reply.finishStream("OTHER"))],
  ["error", (reply) => reply.sendError(503, "UNAVAILABLE")],
];

for (const [state, end] of ENDS) {
  test(`an answer that ends as ${state} says so`, async (t) => {
    const { page, chat } = await fixture.openChat(t);
    fixture.gemini.script(`ends ${state}`, end);
    await chat.ask(`${QUESTION} ends ${state}`);
    assert.equal(await chat.waitForEnd(), state);
    const words = await chat.readState();
    if (state !== "answered") assert.ok(words.length > 10, `says "${words}"`);
    const half = ["max_tokens", "safety", "recitation", "other"].includes(state);
    if (half) assert.match(await chat.answer.innerText(), /Half an/);
    const [event] = await readEvents(page, state === "error" ? "error" : "answer");
    if (state === "error") assert.equal(event.problem.code, "upstream_busy");
    else assert.equal(event.cited.length > 0, /\[1\]/.test(event.text));
  });
}

test("all ends read differently", async (t) => {
  const { chat } = await fixture.openChat(t);
  const words = new Set();
  for (const [state, end] of ENDS) {
    fixture.gemini.script(`differ ${state}`, end);
    await chat.ask(`${QUESTION} differ ${state}`);
    assert.equal(await chat.waitForEnd(), state);
    words.add(await chat.readState());
  }
  // Several refusals may read alike: a reader need not know why the model or its provider refused.
  assert.ok(words.size >= 7, [...words].join("\n"));
});

test("when the day's budget is spent the sources are shown alone", async (t) => {
  const docent = await fixture.startDocent({ DAILY_REQUESTS: "1" });
  const { chat } = await fixture.openChat(t, { from: docent.url });
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  await chat.ask(`${QUESTION} again`);
  assert.equal(await chat.waitForEnd(), "search_only");
  assert.ok((await chat.sources.count()) > 0);
});

test("a failure inside the stream keeps what was written and can be tried again", async (t) => {
  const { chat } = await fixture.openChat(t);
  fixture.gemini.script(
    "broke off",
    (reply) => (reply.sendText("Half an [1]"), reply.truncateStream()),
  );
  await chat.ask(`${QUESTION} broke off`);
  assert.equal(await chat.waitForEnd(), "error");
  assert.match(await chat.answer.innerText(), /Half an/);
  fixture.gemini.script("broke off", answerWith("Whole [1]."));
  await chat.button("Try again").click();
  await chat.waitForState("answered");
  assert.equal(await chat.turns.count(), 1);
  assert.match(await chat.answer.innerText(), /^Whole/);
  assert.doesNotMatch(await chat.answer.innerText(), /Half/);
});

test("a problem before the stream is shown as its sentence", async (t) => {
  const { page, chat } = await fixture.openChat(t, { expected: [/status of 502/] });
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
  assert.equal(await chat.waitForEnd(), "error");
  assert.ok((await chat.turns.last().innerText()).includes(problem.detail));
  assert.equal(await chat.button("Try again").count(), 0, "asking again cannot help");
  const [event] = await readEvents(page, "error");
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
    const { page, chat } = await fixture.openChat(t, { expected: [/status of 50/] });
    const headers = { "access-control-allow-origin": "*" };
    await page.route("**/chat", (route) => route.fulfill({ headers, ...fulfil }));
    await chat.ask("Anything?");
    assert.match(String(await chat.waitForEnd()), /error|cut/);
    const words = await chat.readState();
    assert.match(words, /\w+ \w+/);
    assert.doesNotMatch(words, /undefined|null|NaN|JSON|\[object/);
  });
}

test("a server that cannot be reached is an error that can be tried again", async (t) => {
  const { page, chat } = await fixture.openChat(t, { expected: [/ERR_/] });
  await page.route("**/chat", (route) => route.abort("connectionrefused"));
  await chat.ask(`${QUESTION} abort`);
  assert.match(String(await chat.waitForEnd()), /error|cut/);
  await page.unroute("**/chat");
  fixture.gemini.script("abort", answerWith("There [1]."));
  await chat.button("Try again").click();
  await chat.waitForState("answered");
});

test("a reader who asks too often is told when to try again, and the button waits", async (t) => {
  const docent = await fixture.startDocent({ RATE_LIMIT: "1" });
  const { page, chat } = await fixture.openPage(t, {
    from: docent.url,
    expected: [/status of 429/],
  });
  await page.clock.install();
  await chat.open();
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  await chat.ask(`${QUESTION} at once`);
  assert.equal(await chat.waitForEnd(), "error");
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
  const { page, chat } = await fixture.openChat(t, { expected: [/status of 503/] });
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
  assert.equal(await chat.waitForEnd(), "error");
  const waiting = chat.host.getByRole("button", { name: /^Try again in (40|3\d) s$/ });
  await waiting.waitFor();
  assert.equal(await waiting.isDisabled(), true);
});

test("stopping ends the answer here, in Docent and at Gemini", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const left = createGate();
  fixture.gemini.script("stopped", async (reply) => {
    reply.sendText("The first words ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} stopped`);
  await chat.answer.getByText("The first words").waitFor();
  await chat.button("Stop").click();
  await chat.waitForState("stopped");
  await left.opened;
  assert.match(await chat.answer.innerText(), /The first words/);
  const [event] = await readEvents(page, "answer");
  assert.equal(event.stopped, true);
  await chat.button("Send").waitFor();
});

test("stopping while the docs are still searched ends the turn too", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await page.route("**/chat", () => {});
  await chat.ask(QUESTION);
  await chat.waitForState("searching");
  await chat.button("Stop").click();
  await chat.waitForState("stopped");
});

test("an answer and a block of code can be copied", async (t) => {
  const { page, chat } = await fixture.openChat(t, {
    context: { permissions: ["clipboard-read", "clipboard-write"] },
  });
  fixture.gemini.script("copied", answerWith(...splitText(MARKDOWN, 5)));
  await chat.ask(`${QUESTION} copied`);
  await chat.waitForState("answered");
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
