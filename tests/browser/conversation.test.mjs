// Tests a conversation over several turns, pages and tabs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openContext } from "./chromium.mjs";
import { answerWith, createGate } from "./gemini.mjs";
import { locateWidget, readEvents } from "./widget.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

// Readers have the back-forward cache, which Playwright switches off.
const fixture = startFixture({ without: ["--disable-back-forward-cache"] });

test("earlier turns are sent back as history", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("turn one", answerWith("The **first** answer [1]."));
  await chat.ask(`${QUESTION} turn one`);
  await chat.waitForState("answered");
  await chat.ask(`${QUESTION} turn two`);
  await chat.waitForState("answered");
  const asked = await readEvents(page, "ask");
  assert.deepEqual(asked[0].request.history ?? [], []);
  assert.deepEqual(asked[1].request.history, [
    { role: "user", content: `${QUESTION} turn one` },
    { role: "assistant", content: "The **first** answer [1]." },
  ]);
  const sent = fixture.gemini.calls.at(-1).contents;
  assert.equal(sent[1].role, "model");
});

test("the history stays within what Docent admits", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("many", answerWith("ü🦀".repeat(6_000), " [1]"));
  for (let turn = 0; turn < 12; turn += 1) {
    await chat.ask(`${QUESTION} many ${turn}`);
    assert.equal(await chat.waitForEnd(), "answered", `turn ${turn}`);
  }
  const { history } = (await readEvents(page, "ask")).at(-1).request;
  assert.equal(history.length, 20);
  assert.deepEqual(history.at(-2), { role: "user", content: `${QUESTION} many 10` });
  for (const { content } of history) {
    assert.ok([...content].length <= 8_000);
    assert.ok(content.isWellFormed?.() ?? true, "a character is cut in two");
  }
});

test("a failed turn does not spoil the turns after it", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("fails", (reply) => reply.sendError(503, "UNAVAILABLE"));
  await chat.ask(`${QUESTION} fails`);
  assert.equal(await chat.waitForEnd(), "error");
  await chat.ask(`${QUESTION} goes on`);
  assert.equal(await chat.waitForEnd(), "answered");
  const { history } = (await readEvents(page, "ask")).at(-1).request;
  for (const { content } of history ?? []) assert.ok(content.trim());
});

test("the conversation stays over a reload and over a change of page", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("stays", answerWith("It stays [1]. **Bold**."));
  await chat.ask(`${QUESTION} stays`);
  await chat.waitForState("answered");
  for (const leave of [() => page.reload(), () => page.goto(fixture.site.addPage())]) {
    await leave();
    await chat.open();
    await chat.waitForState("answered");
    assert.equal(await chat.turns.count(), 1);
    assert.match(await chat.turns.last().locator(".question").innerText(), /stays/);
    assert.match(await chat.answer.innerText(), /It stays/);
    assert.equal(await chat.answer.locator("strong").innerText(), "Bold");
    assert.equal(await chat.citations.count(), 1);
    assert.ok((await chat.sources.count()) > 0);
  }
  await chat.ask(`${QUESTION} after that`);
  await chat.waitForEnd();
  const { history } = (await readEvents(page, "ask")).at(-1).request;
  assert.equal(history.length, 2);
});

test("a new conversation forgets the old one", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await chat.ask(QUESTION);
  await chat.waitForState("answered");
  await chat.button("New conversation").click();
  assert.equal(await chat.turns.count(), 0);
  await chat.ask(`${QUESTION} anew`);
  await chat.waitForState("answered");
  assert.deepEqual((await readEvents(page, "ask")).at(-1).request.history ?? [], []);
  await chat.button("New conversation").click();
  await page.reload();
  await chat.open();
  assert.equal(await chat.turns.count(), 0);
});

test("a new conversation while an answer is written stops it", async (t) => {
  const { chat } = await fixture.openChat(t);
  const left = createGate();
  fixture.gemini.script("abandoned", async (reply) => {
    reply.sendText("Some words ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} abandoned`);
  await chat.answer.getByText("Some words").waitFor();
  await chat.button("New conversation").click();
  await left.opened;
  assert.equal(await chat.turns.count(), 0);
  fixture.gemini.script("next one", answerWith("Next [1]."));
  await chat.ask(`${QUESTION} next one`);
  await chat.waitForState("answered");
  assert.equal(await chat.turns.count(), 1);
});

test("two tabs have two conversations, and stream at once", async (t) => {
  const context = await openContext(t, fixture.browser);
  const url = fixture.site.addPage();
  const [one, two] = [createGate(), createGate()];
  const tabs = [];
  for (const [name, rest] of /** @type {[string, typeof one][]} */ ([
    ["tab one", one],
    ["tab two", two],
  ])) {
    fixture.gemini.script(name, async (reply) => {
      reply.sendText(`Beginning of ${name} `);
      await rest.opened;
      reply.sendText(`and its end [1].`);
      reply.finishStream();
    });
    const page = await context.newPage();
    await page.goto(url);
    const chat = locateWidget(page);
    await chat.open();
    assert.equal(await chat.turns.count(), 0);
    await chat.ask(`${QUESTION} ${name}`);
    await chat.answer.getByText(`Beginning of ${name}`).waitFor();
    tabs.push({ page, chat });
  }
  two.open();
  await tabs[1].chat.waitForState("answered");
  await tabs[0].chat.waitForState("writing");
  one.open();
  await tabs[0].chat.waitForState("answered");
  assert.match(await tabs[0].chat.answer.innerText(), /tab one and its end/);
  await tabs[0].page.reload();
  await tabs[0].chat.open();
  assert.match(await tabs[0].chat.answer.innerText(), /tab one and its end/);
  const third = await context.newPage();
  await third.goto(url);
  await locateWidget(third).open();
  assert.equal(await locateWidget(third).turns.count(), 0);
});

test("a reader who leaves while an answer is written, and comes back, finds a turn that is over", async (t) => {
  // The browser reports the request that it breaks off.
  const { page, chat } = await fixture.openChat(t, { expected: [/ERR_/] });
  fixture.gemini.script("leaves", async (reply) => {
    reply.sendText("Words before leaving ");
    await reply.left;
  });
  await page.evaluate(() =>
    window.addEventListener("pageshow", (event) => (window.name = String(event.persisted))),
  );
  await chat.ask(`${QUESTION} leaves`);
  await chat.answer.getByText("Words before leaving").waitFor();
  await page.goto(fixture.site.addPage());
  await page.goBack({ waitUntil: "commit" });
  // A page from the back-forward cache still shows the dialog; a page that is loaded again does not.
  await page.waitForFunction(() => customElements.get("docent-chat"));
  if (!(await chat.box.isVisible())) await chat.open();
  assert.match(String(await chat.waitForEnd()), /^(stopped|cut)$/);
  assert.match(await chat.answer.innerText(), /Words before leaving/);
  assert.equal(await page.evaluate(() => window.name), "true", "it came from the cache");
  fixture.gemini.script("comes back", answerWith("Welcome [1]."));
  await chat.ask(`${QUESTION} comes back`);
  await chat.waitForState("answered");
});

test("a reload while an answer is written leaves a turn that is over", async (t) => {
  const { page, chat } = await fixture.openChat(t, { expected: [/ERR_/] });
  const left = createGate();
  fixture.gemini.script("reloads", async (reply) => {
    reply.sendText("Words before the reload ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} reloads`);
  await chat.answer.getByText("Words before").waitFor();
  await page.reload();
  await left.opened;
  await chat.open();
  assert.match(String(await chat.waitForEnd()), /^(stopped|cut)$/);
});

test("closing and opening again keeps what was written, also meanwhile", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const rest = createGate();
  fixture.gemini.script("closes", async (reply) => {
    reply.sendText("Before ");
    await rest.opened;
    reply.sendText("and after [1].");
    reply.finishStream();
  });
  await chat.ask(`${QUESTION} closes`);
  await chat.answer.getByText("Before").waitFor();
  await chat.button("Close").click();
  await chat.dialog.waitFor({ state: "hidden" });
  rest.open();
  await page.waitForFunction(() =>
    /** @type {any} */ (window).recordedEvents.some((/** @type {any} */ e) => e.name === "answer"),
  );
  await chat.open();
  await chat.waitForState("answered");
  assert.match(await chat.answer.innerText(), /Before and after/);
});

test("a session storage that is full, forbidden or spoilt does not stop the chat", async (t) => {
  const ways = {
    full: () => {
      Storage.prototype.setItem = () => {
        throw new DOMException("full", "QuotaExceededError");
      };
    },
    forbidden: () =>
      Object.defineProperty(window, "sessionStorage", {
        get() {
          throw new DOMException("no", "SecurityError");
        },
      }),
  };
  for (const [name, spoil] of Object.entries(ways)) {
    const { page, chat } = await fixture.openPage(t);
    await page.addInitScript(spoil);
    await page.reload();
    await chat.open();
    await chat.ask(QUESTION);
    assert.equal(await chat.waitForEnd(), "answered", name);
  }
  const { page, chat } = await fixture.openChat(t);
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  for (const junk of ["", "{", "null", "[]", "7", '"x"', '{"turns":7}', "[null]", '[{"a":1}]']) {
    await page.evaluate((text) => {
      for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, text);
    }, junk);
    await page.reload();
    await chat.open();
    await chat.ask(QUESTION);
    assert.equal(await chat.waitForEnd(), "answered", junk);
  }
});
