// The demo page in Chromium, against the real binary: `DOCENT_BIN` names it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const CHROMIUM_FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** @type {import("node:child_process").ChildProcess} */
let docent;
/** @type {import("playwright-core").Browser} */
let browser;
let url = "";
/** What the server has logged. @type {string[]} */
const log = [];

before(async () => {
  const binary = process.env.DOCENT_BIN;
  assert.ok(binary, "DOCENT_BIN must name the built binary");
  const env = { PATH: process.env.PATH, LOG_FORMAT: "json", TMPDIR: process.env.TMPDIR ?? "/tmp" };
  docent = spawn(binary, ["demo", "--port", "0"], { env, stdio: ["ignore", "ignore", "pipe"] });
  const lines = createInterface({ input: /** @type {NodeJS.ReadableStream} */ (docent.stderr) });
  const listening = new Promise((resolve) => {
    lines.on("line", (line) => {
      const { message } = JSON.parse(line);
      log.push(message);
      if (message.startsWith("listening on ")) resolve(message.slice("listening on ".length));
    });
  });
  url = await listening;
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: CHROMIUM_FLAGS });
});

after(async () => {
  await browser?.close();
  docent.kill("SIGTERM");
  await once(docent, "exit");
});

/** A fresh page whose console must stay free of errors, violations of the policy among them. */
async function open(t) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  t.after(async () => {
    await context.close();
    assert.deepEqual(errors, []);
  });
  await page.goto(url);
  return page;
}

async function ask(page, question) {
  await page.fill("#question", question);
  await page.keyboard.press("Enter");
}

/** Answers the next question with these events, as one body. */
async function script(page, events) {
  const body = events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const headers = { "content-type": "text/event-stream" };
  await page.route("**/chat", (route) => route.fulfill({ headers, body: body.join("") }));
}

test("says that it is offline, shows sources first, then words, then the status", async (t) => {
  const page = await open(t);
  await page.waitForSelector("#banner:not([hidden])");
  assert.match(await page.innerText("#banner"), /Offline demo/);
  await ask(page, "How do I put the chat on my Docusaurus site?");
  await page.waitForSelector(".sources li");
  const early = (await page.innerText(".answer")).length;
  await page.waitForSelector(".citation");
  assert.equal(await page.isDisabled("#stop"), false, "it is still writing");
  await page.waitForFunction(() => document.body.innerText.includes("Answered from"));
  const whole = (await page.innerText(".answer")).length;
  assert.ok(whole > early + 50, `${early} characters at first, ${whole} in the end`);
});

test("a citation leads to its heading", async (t) => {
  const page = await open(t);
  await ask(page, "How do I allow my site to call Docent?");
  const target = await page.getAttribute(".citation", "href");
  assert.match(target, /^\/docs\/.+#.+/);
  await page.goto(url + target);
  assert.equal(await page.locator(":target").count(), 1);
});

test("stop ends the answer on the page and on the server", async (t) => {
  const page = await open(t);
  await ask(page, "What happens when Gemini is busy?");
  await page.waitForSelector(".citation");
  const left = log.filter((message) => message === "the reader left").length;
  await page.click("#stop");
  await page.waitForFunction(() => /stopped/i.test(document.body.innerText));
  for (let tries = 0; log.filter((m) => m === "the reader left").length === left; tries += 1) {
    assert.ok(tries < 100, "the server never noticed");
    await page.waitForTimeout(50);
  }
});

test("a question the handbook does not answer is told as such", async (t) => {
  const page = await open(t);
  await ask(page, "Who painted the ceiling?");
  await page.waitForFunction(() => document.body.innerText.includes("Not found in the docu"));
});

test("hostile text from passages and model stays text", async (t) => {
  const page = await open(t);
  const evil = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>`;
  const source = { number: 1, title: evil, section: evil, snippet: evil, score: 1 };
  const sources = [
    { ...source, url: "javascript:window.hit=1" },
    { ...source, number: 2, url: "data:text/html,x" },
  ];
  const done = { status: "answered", cited: [1], finish_reason: "stop", request_id: "r" };
  const timings = { embed_ms: 1, retrieve_ms: 1, first_token_ms: 1, total_ms: 1 };
  await script(page, [
    ["sources", { request_id: "r", sources }],
    ["token", { text: `${evil} [1] [x](javascript:window.hit=1) [2]` }],
    ["done", { ...done, model: evil, usage: null, timings }],
  ]);
  await ask(page, evil);
  await page.waitForFunction(() => document.body.innerText.includes("Answered from"));
  assert.equal(await page.locator("#conversation img, #conversation script").count(), 0);
  assert.equal(await page.locator("#conversation a").count(), 0, "no such link may be made");
  assert.equal(await page.evaluate("window.hit"), undefined);
});

test("a stream that ends without its last event is told as cut", async (t) => {
  const page = await open(t);
  await script(page, [
    ["sources", { request_id: "r", sources: [] }],
    ["token", { text: "Half an" }],
  ]);
  await ask(page, "Anything?");
  await page.waitForFunction(() => document.body.innerText.includes("The answer broke off."));
});

test("the stream's reader gives the same events wherever the bytes are cut", async (t) => {
  const page = await open(t);
  const outcomes = await page.evaluate(async () => {
    const { SseParser } = await import(new URL("/sse.js", location.href).href);
    const text =
      '\ufeff: hb\nevent: token\r\ndata: {"t":"ü🦀"}\r\n\r\n: hb\ndata: a\rdata:b\r\revent: x\n\ndata: open';
    const bytes = new TextEncoder().encode(text);
    const outcomes = new Set();
    for (let first = 0; first <= bytes.length; first += 1) {
      for (let second = first; second <= bytes.length; second += 1) {
        const parser = new SseParser();
        const pieces = [bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second)];
        outcomes.add(JSON.stringify(pieces.flatMap((piece) => parser.feed(piece))));
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
