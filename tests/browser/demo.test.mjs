// Tests the demo page against the offline demo: the chat, and the inspector beside it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { findViolations } from "./axe.mjs";
import { launchBrowser, openContext } from "./chromium.mjs";
import { DONE, scriptEvents, SOURCE } from "./scripted.mjs";
import { startDemo } from "./servers.mjs";
import { locateWidget } from "./widget.mjs";

/** @typedef {import("playwright-core").Page} Page */

const QUESTION = "Which events does the stream have?";

/** @type {import("./servers.mjs").Docent} */
let docent;
/**
 * Demo that writes so slowly that no test meets the end of an answer.
 * @type {import("./servers.mjs").Docent}
 */
let slow;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  [docent, slow] = await Promise.all([
    startDemo({ OFFLINE_TOKEN_DELAY_MS: "5" }),
    startDemo({ OFFLINE_TOKEN_DELAY_MS: "2000", SHUTDOWN_GRACE: "1ms" }),
  ]);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await Promise.all([docent?.stop(), slow?.stop()]);
});

/**
 * Opens the page in a context of its own, with the chat ready.
 *
 * @param {import("node:test").TestContext} t
 * @param {import("./chromium.mjs").Guard & { url?: string }} options
 */
async function openDemo(t, { url = docent.url, ...guard } = {}) {
  const context = await openContext(t, browser, guard);
  const page = await context.newPage();
  await page.goto(url);
  const chat = locateWidget(page);
  await chat.box.waitFor();
  return { context, page, chat };
}

/** Asks a question, and waits for the end in the chat and in the inspector. @param {Page} page */
async function askAndWait(page, question = QUESTION) {
  const chat = locateWidget(page);
  await chat.ask(question);
  await chat.waitForEnd();
  await page.locator("#facts:not(:empty)").waitFor();
}

/** Returns the rows of the table of events, long data in full. @param {Page} page */
const readEventRows = (page) =>
  page.locator("#events > tr").evaluateAll((rows) =>
    rows.map((row) => {
      const [ms, type, data] = row.children;
      const long = data.querySelector("details")?.lastChild;
      return {
        ms: Number(ms.textContent),
        type: type.textContent,
        data: (long ?? data).textContent,
      };
    }),
  );

/**
 * Joins the events of an answer into the fields of a JSON answer.
 * @param {{ type: string | null, data: string | null }[]} all
 */
function joinEvents(all) {
  const pick = (/** @type {string} */ wanted) =>
    all.filter(({ type }) => type === wanted).map(({ data }) => JSON.parse(String(data)));
  const [{ sources }] = pick("sources");
  const [{ status, cited }] = pick("done");
  const response = pick("token").map(({ text }) => text);
  return { response: response.join(""), sources, status, cited };
}

/** Picks the fields of a JSON answer that {@link joinEvents} returns. @param {any} answer */
const pickAnswer = ({ response, sources, status, cited }) => ({ response, sources, status, cited });

/** Unfolds the request and the response. @param {Page} page */
async function unfoldDetails(page) {
  for (const id of ["request", "response"])
    await page.locator(`details:not([open]):has(> #${id}) > summary`).click();
}

/** Asks the demo without the page. @param {object} request */
async function askDirectly(request) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify(request);
  return (await fetch(`${docent.url}/chat`, { method: "POST", headers, body })).json();
}

/** Waits for the page's next question, and returns its body. @param {Page} page @returns {Promise<any>} */
const waitForBody = async (page) =>
  JSON.parse((await page.waitForRequest("**/chat")).postData() ?? "null");

test("the page says that it is offline", async (t) => {
  const { page } = await openDemo(t);
  await page.getByRole("status").getByText("Offline demo: no model is asked.").waitFor();
});

for (const [what, answer, said] of /** @type {[string, object | null, RegExp | null][]} */ ([
  ["a model is asked", { json: { status: "ready", qdrant: "ok", gemini: "ok" } }, null],
  [
    "the server is not ready",
    { status: 503, json: { status: "not_ready" } },
    /cannot answer right now/,
  ],
  ["the state is no JSON", { body: "<html>" }, /cannot answer right now/],
  ["the server does not answer", null, /cannot answer right now/],
])) {
  test(`the banner tells the state of a server where ${what}`, async (t) => {
    const context = await openContext(t, browser, { expected: [/status of 503/, /ERR_FAILED/] });
    await context.route("**/ready", (route) => (answer ? route.fulfill(answer) : route.abort()));
    const page = await context.newPage();
    await page.goto(docent.url);
    const banner = page.locator("#banner");
    await banner.and(page.locator(":not(:empty)")).waitFor({ state: "attached" });
    assert.equal(await banner.isVisible(), said !== null);
    if (said) assert.match(await banner.innerText(), said);
  });
}

test("sources come first, in the chat and in the inspector", async (t) => {
  const { page, chat } = await openDemo(t, { url: slow.url });
  await chat.ask(QUESTION);
  await chat.waitForState("writing");
  await page.locator("#sources li").first().waitFor();
  assert.equal(await page.locator("#sources li").count(), await chat.sources.count());
  const [first, ...more] = (await readEventRows(page)).map(({ type }) => type);
  assert.equal(first, "sources");
  assert.ok(!more.includes("done"));
});

test("an answer stands in the page, and its events in the inspector, each with its time", async (t) => {
  const { page, chat } = await openDemo(t);
  assert.equal(await chat.dialog.count(), 0);
  assert.equal(await page.locator("#exchange").isVisible(), false);
  await askAndWait(page);
  await chat.waitForState("answered");
  const all = await readEventRows(page);
  const types = all.map(({ type }) => type);
  assert.deepEqual([types[0], types.at(-1)], ["sources", "done"]);
  assert.deepEqual(new Set(types.slice(1, -1)), new Set(["token"]));
  assert.equal(await page.locator("#event-count").innerText(), String(all.length));
  const times = all.map(({ ms }) => ms);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
  assert.ok(times[0] > 0 && times[times.length - 1] > times[0], times.join());
  assert.deepEqual(joinEvents(all), pickAnswer(await askDirectly({ query: QUESTION })));
});

test("no answer is shown as broken off after its last event", async (t) => {
  const { page } = await openDemo(t);
  for (let n = 0; n < 5; n += 1) {
    await askAndWait(page);
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
    assert.equal((await readEventRows(page)).at(-1)?.type, "done");
  }
});

test("long data can be opened", async (t) => {
  const { page } = await openDemo(t);
  await askAndWait(page);
  const data = page.locator("#events > tr").first().locator(".data");
  const [first] = await readEventRows(page);
  assert.ok(!(await data.innerText()).includes(String(first.data)));
  await data.locator("summary").click();
  assert.ok((await data.textContent())?.includes(String(first.data)));
  await data.locator("details[open]").waitFor();
});

test("the first of many events are shown, and all are counted", async (t) => {
  const { page } = await openDemo(t);
  const tokens = Array.from(
    { length: 600 },
    () => /** @type {[string, object]} */ (["token", { text: "x " }]),
  );
  await scriptEvents(page, [
    ["sources", { request_id: "r", sources: [SOURCE] }],
    ...tokens,
    ["done", DONE],
  ]);
  await askAndWait(page);
  assert.equal(await page.locator("#event-count").innerText(), "602");
  assert.equal((await readEventRows(page)).length, 500);
});

test("the inspector shows each source with its score, its address and its passage", async (t) => {
  const { page } = await openDemo(t);
  await askAndWait(page);
  const { sources } = await askDirectly({ query: QUESTION });
  assert.ok(sources.length > 1);
  assert.equal(await page.locator("#source-count").innerText(), String(sources.length));
  const shown = page.locator("#sources > li");
  assert.equal(await shown.count(), sources.length);
  for (const [at, { title, section, url, snippet, score }] of sources.entries()) {
    const text = await shown.nth(at).innerText();
    const name = section ? `${title} › ${section}` : title;
    for (const part of [name, `score ${Number(score.toPrecision(4))}`, url])
      assert.ok(text.includes(part), `${part} is not in ${text}`);
    assert.equal(await shown.nth(at).locator("p").textContent(), snippet);
  }
});

test("the bar has no part for a first token where no model was asked", async (t) => {
  const { page } = await openDemo(t);
  await askAndWait(page);
  const shown = await page.locator("#bar > span").allInnerTexts();
  assert.deepEqual(
    shown.map((part) => part.replace(/ [\d.]+ ms$/, "")),
    ["embed", "retrieve", "write"],
  );
  assert.match(
    await page.locator("#facts").innerText(),
    /^total \d+ ms · answered · stop · no model/,
  );
});

/** Answers with a model's timings. @param {Page} page @param {string} word Is appended to names. */
const answerAsModel = (page, word = "") => {
  const [title, snippet, url] = [SOURCE.title, SOURCE.snippet, SOURCE.url].map((t) => t + word);
  return scriptEvents(page, [
    ["sources", { request_id: "r", sources: [{ ...SOURCE, title, snippet, url }] }],
    ["token", { text: "It [1]." }],
    [
      "done",
      {
        ...DONE,
        model: `some-model${word}`,
        usage: { prompt_tokens: 812, completion_tokens: 96, total_tokens: 908 },
        timings: { embed_ms: 40.4, retrieve_ms: 5, first_token_ms: 400.4, total_ms: 1000.4 },
      },
    ],
  ]);
};

test("the bar has a part for each stage, and the facts name the model", async (t) => {
  const { page } = await openDemo(t);
  await answerAsModel(page);
  await askAndWait(page);
  assert.deepEqual(await page.locator("#bar > span").allInnerTexts(), [
    "embed 40 ms",
    "retrieve 5.0 ms",
    "first token 355 ms",
    "write 600 ms",
  ]);
  const widths = await page
    .locator("#bar > span")
    .evaluateAll((spans) => spans.map((span) => span.getBoundingClientRect().width));
  assert.equal(Math.max(...widths), widths[3], "the longest stage has the longest part");
  assert.equal(
    await page.locator("#facts").innerText(),
    "total 1000 ms · answered · stop · some-model · 812 + 96 tokens · request r",
  );
});

test("request and response are shown with their headers", async (t) => {
  const { page } = await openDemo(t);
  const coming = page.waitForResponse("**/chat");
  await askAndWait(page);
  const response = await coming;
  await unfoldDetails(page);
  const [head, body] = (await page.locator("#request").innerText()).split("\n\n");
  assert.equal(
    head,
    `POST ${docent.url}/chat\ncontent-type: application/json\naccept: text/event-stream`,
  );
  assert.deepEqual(JSON.parse(body), response.request().postDataJSON());
  const [status, ...headers] = (await page.locator("#response").innerText()).split("\n");
  assert.equal(status, "200 OK");
  const id = response.headers()["x-request-id"];
  assert.match(id, /^[0-9a-f-]{36}$/);
  for (const header of [`x-request-id: ${id}`, "content-type: text/event-stream"])
    assert.ok(headers.includes(header), `${header} is not among ${headers}`);
  assert.ok((await page.locator("#facts").innerText()).endsWith(`request ${id}`));
});

/** Questions with signs that mean something to a shell. */
const QUOTED = [
  QUESTION,
  `What's the stream's "done" event?`,
  "The stream $HOME ${PATH} $(echo 1) `echo 2` !! \\ \\\\ \\n \\' \"\\\" '' *",
  "Die Ereignisse\nim Stream: über 🦀 & ; | < > # ~ %s",
];

for (const accept of ["text/event-stream", "application/json"]) {
  test(`the curl line sends the same question and accepts ${accept}`, async (t) => {
    const { page } = await openDemo(t);
    await page.selectOption("#accept", accept);
    const shell = promisify(execFile);
    for (const question of QUOTED) {
      const coming = waitForBody(page);
      await askAndWait(page, question);
      const sent = await coming;
      assert.equal(sent.query, question);
      const line = await page.locator("#curl").inputValue();
      const echo = await shell("sh", ["-c", `curl() { printf '%s\\0' "$@"; }; ${line}`]);
      assert.deepEqual(JSON.parse(echo.stdout.split("\0").at(-2) ?? ""), sent);
      const { stdout } = await shell("sh", ["-c", line]);
      const shown = await readEventRows(page);
      if (accept === "application/json") {
        assert.deepEqual(
          pickAnswer(JSON.parse(stdout)),
          pickAnswer(JSON.parse(String(shown[0].data))),
        );
      } else {
        const frames = stdout.split("\n\n").filter(Boolean);
        const got = frames.map((frame) => {
          const [, type, data] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? [];
          return { type, data };
        });
        assert.deepEqual(joinEvents(got), joinEvents(shown));
      }
    }
  });
}

test("the curl line can be copied", async (t) => {
  const permissions = ["clipboard-read", "clipboard-write"];
  const { page } = await openDemo(t, { context: { permissions } });
  await askAndWait(page);
  await page.getByRole("button", { name: "Copy", exact: true }).click();
  await page.getByRole("button", { name: "Copied", exact: true }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, await page.locator("#curl").inputValue());
  assert.match(copied, /^curl /);
});

test("a JSON answer comes in one piece, and is the same", async (t) => {
  const { page, chat } = await openDemo(t);
  await askAndWait(page);
  const streamed = {
    text: await chat.answer.innerText(),
    ...joinEvents(await readEventRows(page)),
  };
  await page.selectOption("#accept", "application/json");
  const coming = page.waitForResponse("**/chat");
  await askAndWait(page);
  assert.match((await coming).headers()["content-type"], /^application\/json/);
  await chat.waitForState("answered");
  const [body, ...more] = await readEventRows(page);
  assert.deepEqual([body.type, more], ["(body)", []]);
  const answer = JSON.parse(String(body.data));
  assert.deepEqual({ text: await chat.answer.innerText(), ...pickAnswer(answer) }, streamed);
  assert.equal(await chat.sources.count(), answer.sources.length);
  assert.equal(await page.locator("#sources > li").count(), answer.sources.length);
  assert.equal(await page.locator("#bar > span").count(), 3);
});

test("top_k bounds the sources, and the server's refusal of a wrong one is shown", async (t) => {
  const { page, chat } = await openDemo(t, { expected: [/status of 422/] });
  await page.fill("#top_k", "2");
  const coming = waitForBody(page);
  await askAndWait(page);
  assert.equal((await coming).top_k, 2);
  assert.equal(await chat.sources.count(), 2);
  assert.equal(await page.locator("#sources > li").count(), 2);
  await page.fill("#top_k", "21");
  await chat.ask(QUESTION);
  await chat.waitForState("error");
  assert.match(await chat.readState(), /top_k: /);
});

test("a filter is sent", async (t) => {
  const { page, chat } = await openDemo(t);
  for (const filter of [{ version: "2.x" }, { language: ["en", "de"] }]) {
    await page.fill("#filter", JSON.stringify(filter));
    const coming = waitForBody(page);
    await askAndWait(page);
    assert.deepEqual((await coming).filter, filter);
    await chat.waitForState("answered");
    assert.equal(await page.locator("#wrong").isVisible(), false);
  }
});

test("a filter that is no JSON object is reported and left out", async (t) => {
  const { page } = await openDemo(t);
  for (const filter of ["version: 2", "{", "7", "null", '["version"]', '"version"']) {
    await page.fill("#filter", filter);
    await page.press("#filter", "Enter");
    await page.getByRole("alert").getByText("filter must be a JSON object").waitFor();
    const coming = waitForBody(page);
    await askAndWait(page);
    assert.deepEqual((await coming).filter ?? {}, {}, filter);
    assert.equal(await page.locator("#wrong").isVisible(), true, filter);
    await page.fill("#filter", "");
    await page.press("#filter", "Enter");
    await page.locator("#wrong").waitFor({ state: "hidden" });
  }
});

test("a filter that the server refuses is shown in the chat and in the inspector", async (t) => {
  const { page, chat } = await openDemo(t, { expected: [/status of 422/] });
  await page.fill("#filter", '{"colour": "red"}');
  await chat.ask(QUESTION);
  await chat.waitForState("error");
  assert.match(await chat.readState(), /filter\.colour: .*version, language/);
  await page.locator("#events > tr").waitFor();
  const [{ data }] = await readEventRows(page);
  assert.equal(JSON.parse(String(data)).code, "invalid_request");
  assert.equal(await page.locator("#status").textContent(), "422");
  assert.equal(await page.locator("#sources > li").count(), 0);
});

test("a question that the docs do not answer gets an answer that says so", async (t) => {
  const { page, chat } = await openDemo(t);
  await askAndWait(page, "Who painted the ceiling?");
  await chat.waitForState("not_in_docs");
  assert.match(await page.locator("#facts").innerText(), / · not_in_docs · /);
});

/** Returns the shade, light or dark, of the page, the inspector and the chat. @param {Page} page */
const readShades = (page) =>
  page.evaluate(() => {
    const panel = document.querySelector("docent-chat")?.shadowRoot?.querySelector(".panel");
    const parts = [document.body, document.querySelector(".inspector"), panel];
    return parts.map((part) => {
      const { backgroundColor, color } = getComputedStyle(/** @type {Element} */ (part));
      const [paper, ink] = [backgroundColor, color].map((text) => {
        const [red, green, blue] = (text.match(/\d+/g) ?? []).map(Number);
        return red + green + blue;
      });
      return paper > ink ? "light" : "dark";
    });
  });

test("the theme changes page and chat at once", async (t) => {
  const { page, chat } = await openDemo(t, { context: { colorScheme: "dark" } });
  const all = (/** @type {string} */ shade) => [shade, shade, shade];
  await askAndWait(page);
  assert.deepEqual(await readShades(page), all("dark"), "as the system");
  for (const theme of ["light", "dark", "light"]) {
    await page.selectOption("#theme", theme);
    assert.deepEqual(await readShades(page), all(theme));
  }
  await page.selectOption("#theme", "system");
  assert.deepEqual(await readShades(page), all("dark"), "as the system again");
  await page.emulateMedia({ colorScheme: "light" });
  await page.locator("docent-chat:not([data-dark])").waitFor();
  assert.deepEqual(await readShades(page), all("light"), "the system has changed");
  await page.selectOption("#theme", "dark");
  assert.deepEqual(await readShades(page), all("dark"), "unlike the system");
  assert.equal(await chat.turns.count(), 1);
});

test("a stopped answer ends in the inspector and in the server", async (t) => {
  const { page, chat } = await openDemo(t, { url: slow.url });
  const gone = () => slow.log.filter((message) => message === "the reader left").length;
  await chat.ask(QUESTION);
  await page.locator("#events > tr").first().waitFor();
  const before = gone();
  await chat.button("Stop").click();
  await chat.waitForState("stopped");
  await page.locator("#events > tr", { hasText: "before its last event" }).waitFor();
  assert.equal((await readEventRows(page)).at(-1)?.type, "(ended)");
  for (let tries = 0; gone() === before; tries += 1) {
    assert.ok(tries < 100, "the server never noticed");
    await page.waitForTimeout(50);
  }
  assert.ok(!(await readEventRows(page)).some(({ type }) => type === "done"));
});

test("a citation and a source open their heading in a new tab, and the page stays", async (t) => {
  const { context, page, chat } = await openDemo(t);
  await askAndWait(page, "How do I allow my site to call Docent?");
  for (const link of [chat.citations.first(), chat.sources.first()]) {
    const coming = context.waitForEvent("page");
    await link.click();
    const opened = await coming;
    await opened.waitForURL(/\/docs\/.+#.+/);
    assert.equal(opened.url(), new URL((await link.getAttribute("href")) ?? "", docent.url).href);
    await opened.locator(":target").waitFor();
    assert.equal(await opened.evaluate(() => window.opener), null);
    await opened.close();
    assert.equal(page.url(), `${docent.url}/`);
    assert.equal(await chat.turns.count(), 1);
    assert.equal(await page.locator("#exchange").isVisible(), true);
  }
});

test("hostile text stays text in the inspector too", async (t) => {
  const { page, chat } = await openDemo(t);
  const evil = `</pre></textarea><img src=x onerror="window.hit=1"><script>window.hit=1</script>`;
  const link = "javascript:window.hit=1";
  const source = { ...SOURCE, title: evil, section: evil, snippet: evil };
  const headers = { "content-type": "text/event-stream", "x-evil": evil };
  const frame = (/** @type {string} */ type, /** @type {object} */ data) =>
    `event: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  const sources = [
    { ...source, url: link },
    { ...source, number: 2, url: evil },
  ];
  const timings = { ...DONE.timings, [evil]: 1 };
  const frames = [
    frame("sources", { request_id: evil, sources }),
    frame("token", { text: `${evil} [1] [x](${link}) [2]` }),
    frame(evil, { [evil]: evil.repeat(3) }),
    frame("done", { ...DONE, model: evil, request_id: evil, timings }),
  ];
  await page.route("**/chat", (route) => route.fulfill({ headers, body: frames.join("") }));
  await page.fill("#filter", JSON.stringify({ [evil]: evil }));
  await askAndWait(page, evil);
  await chat.waitForState("answered");
  const folded = page.locator("details:not([open]) > summary");
  while (await folded.count()) await folded.first().click();
  for (const id of ["sources", "events", "facts", "request", "response"])
    assert.ok((await page.locator(`#${id}`).innerText()).includes("<script>window.hit"), id);
  assert.ok((await page.locator("#curl").inputValue()).includes("<script>window.hit"));
  const made = page.locator(".inspector :is(img, script, iframe, svg, style, link, a, [onerror])");
  assert.equal(await made.count(), 0);
  const links = await chat.turns.locator("a").evaluateAll((all) => all.map((a) => a.protocol));
  assert.deepEqual(
    links.filter((protocol) => !/^https?:$/.test(protocol)),
    [],
  );
  assert.equal(await page.evaluate("window.hit"), undefined);
});

test("the demo's documentation has the floating button, and the same conversation", async (t) => {
  const { page, chat } = await openDemo(t);
  await askAndWait(page);
  const text = await chat.answer.innerText();
  await page.getByRole("link", { name: "Documentation" }).click();
  await page.waitForURL("**/docs");
  await chat.opener.waitFor();
  assert.match((await chat.opener.getAttribute("class")) ?? "", /\bfloating\b/);
  assert.equal(await chat.box.count(), 0);
  await chat.opener.click();
  await chat.dialog.waitFor();
  assert.equal(await chat.turns.count(), 1);
  assert.equal(await chat.answer.innerText(), text);
  await chat.ask("What happens when Gemini is busy?");
  await chat.waitForState("answered");
  await chat.button("Close").click();
  await page.getByRole("link", { name: "Ask Docent" }).click();
  await page.waitForURL(`${docent.url}/`);
  await chat.box.waitFor();
  assert.equal(await chat.turns.count(), 2);
});

/** Returns the elements that are wider than the page, or lie beyond its edge. @param {Page} page */
const findOverflowing = (page) =>
  page.evaluate(() => {
    const { clientWidth, scrollWidth } = document.documentElement;
    const parts = [...document.querySelectorAll("body *")].filter((part) => {
      const { left, right } = part.getBoundingClientRect();
      // An element that scrolls within its own box does the page no harm.
      return (
        !part.parentElement?.closest("pre, .scroll") && (left < 0 || right > clientWidth + 0.5)
      );
    });
    const found = parts.map((part) => `${part.localName}#${part.id}.${part.className}`);
    return scrollWidth > clientWidth
      ? [`the page by ${scrollWidth - clientWidth}`, ...found]
      : found;
  });

test("nothing is wider than the page at 360 px, and every stage can be read", async (t) => {
  const { page, chat } = await openDemo(t, {
    context: { viewport: { width: 360, height: 740 } },
    expected: [/status of 422/],
  });
  assert.deepEqual(await findOverflowing(page), [], "empty");
  await askAndWait(page);
  await unfoldDetails(page);
  assert.deepEqual(await findOverflowing(page), [], "answered");
  await answerAsModel(page, "x".repeat(300));
  await askAndWait(page, "x".repeat(400));
  assert.deepEqual(await findOverflowing(page), [], "a long word");
  const [bar, ...stages] = await Promise.all(
    [page.locator("#bar"), ...(await page.locator("#bar > span").all())].map((part) =>
      part.evaluate((node) => ({
        ...node.getBoundingClientRect().toJSON(),
        text: node.textContent,
      })),
    ),
  );
  assert.equal(stages.length, 4);
  for (const { left, right, bottom, text } of stages) {
    const isInside = left >= bar.left && right <= bar.right + 0.5 && bottom <= bar.bottom + 0.5;
    assert.ok(isInside, `${text} ends at ${right} of ${bar.right}`);
  }
  await page.unroute("**/chat");
  await page.fill("#filter", `{"${"colour".repeat(30)}": 1}`);
  await chat.ask(QUESTION);
  await chat.waitForState("error");
  assert.deepEqual(await findOverflowing(page), [], "refused");
});

for (const colorScheme of /** @type {("light" | "dark")[]} */ (["light", "dark"])) {
  test(`axe finds nothing serious in the ${colorScheme} theme`, async (t) => {
    // Axe would measure colours that are still fading in.
    const context = { colorScheme, reducedMotion: /** @type {const} */ ("reduce") };
    const { page, chat } = await openDemo(t, { context, expected: [/status of 422/] });
    await page.locator("#banner:not([hidden])").waitFor();
    assert.deepEqual(await findViolations(page), [], "empty");
    await answerAsModel(page);
    await askAndWait(page);
    await unfoldDetails(page);
    assert.deepEqual(await findViolations(page), [], "by a model");
    await page.unroute("**/chat");
    await askAndWait(page);
    await page.locator("#events summary").first().click();
    assert.deepEqual(await findViolations(page), [], "answered");
    await page.fill("#filter", "wrong");
    await page.press("#filter", "Enter");
    await page.locator("#wrong:not(:empty)").waitFor();
    assert.deepEqual(await findViolations(page), [], "with a wrong filter");
    await page.fill("#filter", '{"colour": 1}');
    await chat.ask(QUESTION);
    await chat.waitForState("error");
    assert.deepEqual(await findViolations(page), [], "refused");
  });

  test(`axe finds nothing serious in the documentation in the ${colorScheme} theme`, async (t) => {
    const context = await openContext(t, browser, { context: { colorScheme } });
    const page = await context.newPage();
    for (const path of ["/docs", "/docs/stream"]) {
      await page.goto(docent.url + path);
      await locateWidget(page).opener.waitFor();
      assert.deepEqual(await findViolations(page), [], path);
    }
  });
}

test("the parser returns the same events wherever the bytes are cut", async (t) => {
  const { page } = await openDemo(t);
  const outcomes = await page.evaluate(async () => {
    const { SseParser } = await import(new URL("/widget/chat.js", location.href).href);
    const text =
      '\ufeff: hb\nevent: token\r\ndata: {"t":"ü🦀"}\r\n\r\n: hb\ndata: a\rdata:b\r\revent: x\n\ndata: open';
    const bytes = new TextEncoder().encode(text);
    const outcomes = new Set();
    for (let first = 0; first <= bytes.length; first += 1) {
      for (let second = first; second <= bytes.length; second += 1) {
        const parser = new SseParser();
        const pieces = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
        outcomes.add(JSON.stringify(pieces.flatMap((piece) => parser.parseBytes(piece))));
      }
    }
    return [...outcomes];
  });
  const events = [
    { type: "token", data: '{"t":"ü🦀"}' },
    { type: "message", data: "a\nb" },
  ];
  assert.deepEqual(outcomes, [JSON.stringify(events)]);
});
