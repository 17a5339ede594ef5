// Tests bytes that arrive in bad pieces, and connections that break.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith, createGate } from "./gemini.mjs";
import { startProxy } from "./proxy.mjs";
import { DONE, scriptEvents, SOURCE } from "./scripted.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

/** @type {Awaited<ReturnType<typeof startProxy>>} */
let proxy;
const fixture = startFixture({
  async onStarted(end) {
    proxy = await startProxy(fixture.docent.url);
    fixture.site.trusted.push(proxy.url);
    end(proxy.close);
  },
});

const ANSWER = `Größe, 文档, اردو and 🦀 [1].

- \`ü\` — *ß* 👩‍👩‍👧 [2]
- ${"Wörter ".repeat(20)}

\`\`\`js
const ß = "🦀";
\`\`\``;

test("an answer is the same however its bytes are cut", async (t) => {
  fixture.gemini.script("bytes", answerWith(...(ANSWER.match(/[^]{1,13}/gu) ?? [])));
  const direct = await fixture.openChat(t);
  await direct.chat.ask(`${QUESTION} bytes`);
  await direct.chat.waitForState("answered");
  const html = (/** @type {typeof direct.chat} */ chat) =>
    chat.turns.last().evaluate((turn) => turn.outerHTML.replace(/id="[^"]*"/g, ""));
  const expected = await html(direct.chat);
  assert.ok(expected.includes("👩‍👩‍👧"));
  const { page, chat } = await fixture.openChat(t, { from: proxy.url });
  for (const seed of [1, 2, 3, 4, 5]) {
    proxy.mischief.seed = seed;
    await chat.ask(`${QUESTION} bytes`);
    await chat.waitForState("answered");
    assert.equal(await html(chat), expected, `seed ${seed}`);
    await chat.button("New conversation").click();
  }
  delete proxy.mischief.seed;
  assert.equal(await page.evaluate(() => document.querySelectorAll("docent-chat").length), 1);
});

for (const after of [0, 40, 60_000]) {
  test(`a connection that breaks after ${after} bytes is reported, and can be tried again`, async (t) => {
    const { chat } = await fixture.openChat(t, { from: proxy.url, expected: [/ERR_/] });
    const isLate = after > 5_000;
    const rest = createGate();
    fixture.gemini.script("breaks", async (reply) => {
      reply.sendText("The beginning ");
      // Text that is not shown when the connection breaks may be lost with it.
      await rest.opened;
      reply.sendText(...Array.from({ length: 3_000 }, (_, n) => `word${n} `), "[1]");
      reply.finishStream();
    });
    proxy.mischief.cutAfter = after;
    await chat.ask(`${QUESTION} breaks`);
    if (isLate) await chat.answer.getByText("The beginning").waitFor();
    rest.open();
    const state = await chat.waitForEnd();
    delete proxy.mischief.cutAfter;
    // Before the first event a reader has seen no answer that could be cut.
    assert.match(String(state), isLate ? /^cut$/ : /^(cut|error)$/);
    if (isLate) assert.match(await chat.answer.innerText(), /The beginning/);
    await chat.button("Try again").click();
    await chat.waitForState("answered");
    assert.equal(await chat.turns.count(), 1);
    assert.match(await chat.answer.innerText(), /word2999/);
  });
}

test("a connection that breaks while Gemini thinks leaves a turn that is cut", async (t) => {
  const broken = await startProxy(fixture.docent.url);
  fixture.site.trusted.push(broken.url);
  const { chat } = await fixture.openChat(t, { from: broken.url, expected: [/ERR_/] });
  const left = createGate();
  fixture.gemini.script("thinks", async (reply) => {
    reply.sendText("Some words ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} thinks`);
  await chat.answer.getByText("Some words").waitFor();
  broken.close();
  await chat.waitForState("cut");
  assert.match(await chat.answer.innerText(), /Some words/);
  await left.opened;
});

test("a stream that ends cleanly without its last event is cut", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await scriptEvents(page, [
    ["sources", { request_id: "r", sources: [SOURCE] }],
    ["token", { text: "Half an answer [1]" }],
  ]);
  await chat.ask("Anything?");
  await chat.waitForState("cut");
  assert.match(await chat.answer.innerText(), /Half an answer/);
});

test("events and fields that the widget does not know do no harm", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await scriptEvents(page, [
    ["news", { anything: 1 }],
    ["sources", { request_id: "r", sources: [{ ...SOURCE, more: {} }], more: 1 }],
    ["token", { text: "Fine [1].", more: [] }],
    ["done", { ...DONE, status: "answered", more: null }],
  ]);
  await chat.ask("Anything?");
  await chat.waitForState("answered");
});

test("a finish reason that the widget does not know ends as other", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await scriptEvents(page, [
    ["sources", { request_id: "r", sources: [SOURCE] }],
    ["token", { text: "Fine [1]." }],
    ["done", { ...DONE, finish_reason: "bored" }],
  ]);
  await chat.ask("Anything?");
  await chat.waitForState("other");
});

test("an event that is no JSON is an error in words, not a turn that never ends", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const headers = { "content-type": "text/event-stream", "access-control-allow-origin": "*" };
  const body = 'event: sources\ndata: {"sources": [\n\nevent: token\ndata: <html>\n\n';
  await page.route("**/chat", (route) => route.fulfill({ headers, body }));
  await chat.ask("Anything?");
  assert.match(String(await chat.waitForEnd()), /cut|error/);
});
