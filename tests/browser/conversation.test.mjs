// A conversation over several turns, pages and tabs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { guarded } from "./chromium.mjs";
import { gate, whole } from "./gemini.mjs";
import { told, widget } from "./widget.mjs";
import { QUESTION, world } from "./world.mjs";

// Playwright switches the back-forward cache off, which readers have.
const w = world({ without: ["--disable-back-forward-cache"] });

test("earlier turns are sent back as history", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("turn one", whole("The **first** answer [1]."));
  await chat.ask(`${QUESTION} turn one`);
  await chat.state("answered");
  await chat.ask(`${QUESTION} turn two`);
  await chat.state("answered");
  const asked = await told(page, "ask");
  assert.deepEqual(asked[0].request.history ?? [], []);
  assert.deepEqual(asked[1].request.history, [
    { role: "user", content: `${QUESTION} turn one` },
    { role: "assistant", content: "The **first** answer [1]." },
  ]);
  const sent = w.gemini.calls.at(-1).contents;
  assert.equal(sent[1].role, "model");
});

test("the history stays within what Docent admits", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("many", whole("ü🦀".repeat(6_000), " [1]"));
  for (let turn = 0; turn < 12; turn += 1) {
    await chat.ask(`${QUESTION} many ${turn}`);
    assert.equal(await chat.ended(), "answered", `turn ${turn}`);
  }
  const { history } = (await told(page, "ask")).at(-1).request;
  assert.equal(history.length, 20);
  assert.deepEqual(history.at(-2), { role: "user", content: `${QUESTION} many 10` });
  for (const { content } of history) {
    assert.ok([...content].length <= 8_000);
    assert.ok(content.isWellFormed?.() ?? true, "a character is cut in two");
  }
});

test("a failed turn does not spoil the turns after it", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("fails", (reply) => reply.error(503, "UNAVAILABLE"));
  await chat.ask(`${QUESTION} fails`);
  assert.equal(await chat.ended(), "error");
  await chat.ask(`${QUESTION} goes on`);
  assert.equal(await chat.ended(), "answered");
  const { history } = (await told(page, "ask")).at(-1).request;
  for (const { content } of history ?? []) assert.ok(content.trim());
});

test("the conversation stays over a reload and over a change of page", async (t) => {
  const { page, chat } = await w.chat(t);
  w.gemini.on("stays", whole("It stays [1]. **Bold**."));
  await chat.ask(`${QUESTION} stays`);
  await chat.state("answered");
  for (const leave of [() => page.reload(), () => page.goto(w.site.page())]) {
    await leave();
    await chat.open();
    await chat.state("answered");
    assert.equal(await chat.turns.count(), 1);
    assert.match(await chat.turns.last().locator(".question").innerText(), /stays/);
    assert.match(await chat.answer.innerText(), /It stays/);
    assert.equal(await chat.answer.locator("strong").innerText(), "Bold");
    assert.equal(await chat.citations.count(), 1);
    assert.ok((await chat.sources.count()) > 0);
  }
  await chat.ask(`${QUESTION} after that`);
  await chat.ended();
  const { history } = (await told(page, "ask")).at(-1).request;
  assert.equal(history.length, 2);
});

test("a new conversation forgets the old one", async (t) => {
  const { page, chat } = await w.chat(t);
  await chat.ask(QUESTION);
  await chat.state("answered");
  await chat.button("New conversation").click();
  assert.equal(await chat.turns.count(), 0);
  await chat.ask(`${QUESTION} anew`);
  await chat.state("answered");
  assert.deepEqual((await told(page, "ask")).at(-1).request.history ?? [], []);
  await chat.button("New conversation").click();
  await page.reload();
  await chat.open();
  assert.equal(await chat.turns.count(), 0);
});

test("a new conversation while an answer is written stops it", async (t) => {
  const { chat } = await w.chat(t);
  const left = gate();
  w.gemini.on("abandoned", async (reply) => {
    reply.text("Some words ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} abandoned`);
  await chat.answer.getByText("Some words").waitFor();
  await chat.button("New conversation").click();
  await left.opened;
  assert.equal(await chat.turns.count(), 0);
  w.gemini.on("next one", whole("Next [1]."));
  await chat.ask(`${QUESTION} next one`);
  await chat.state("answered");
  assert.equal(await chat.turns.count(), 1);
});

test("two tabs have two conversations, and stream at once", async (t) => {
  const context = await guarded(t, w.browser);
  const url = w.site.page();
  const [one, two] = [gate(), gate()];
  const tabs = [];
  for (const [name, rest] of /** @type {[string, typeof one][]} */ ([
    ["tab one", one],
    ["tab two", two],
  ])) {
    w.gemini.on(name, async (reply) => {
      reply.text(`Beginning of ${name} `);
      await rest.opened;
      reply.text(`and its end [1].`);
      reply.finish();
    });
    const page = await context.newPage();
    await page.goto(url);
    const chat = widget(page);
    await chat.open();
    assert.equal(await chat.turns.count(), 0);
    await chat.ask(`${QUESTION} ${name}`);
    await chat.answer.getByText(`Beginning of ${name}`).waitFor();
    tabs.push({ page, chat });
  }
  two.open();
  await tabs[1].chat.state("answered");
  await tabs[0].chat.state("writing");
  one.open();
  await tabs[0].chat.state("answered");
  assert.match(await tabs[0].chat.answer.innerText(), /tab one and its end/);
  await tabs[0].page.reload();
  await tabs[0].chat.open();
  assert.match(await tabs[0].chat.answer.innerText(), /tab one and its end/);
  const third = await context.newPage();
  await third.goto(url);
  await widget(third).open();
  assert.equal(await widget(third).turns.count(), 0);
});

test("who leaves while an answer is written, and comes back, finds a turn that is over", async (t) => {
  // The browser reports the request that it breaks off.
  const { page, chat } = await w.chat(t, { expected: [/ERR_/] });
  w.gemini.on("leaves", async (reply) => {
    reply.text("Words before leaving ");
    await reply.left;
  });
  await page.evaluate(() =>
    window.addEventListener("pageshow", (event) => (window.name = String(event.persisted))),
  );
  await chat.ask(`${QUESTION} leaves`);
  await chat.answer.getByText("Words before leaving").waitFor();
  await page.goto(w.site.page());
  await page.goBack({ waitUntil: "commit" });
  // From the cache of pages the dialog is open still; loaded anew it is not.
  await page.waitForFunction(() => customElements.get("docent-chat"));
  if (!(await chat.box.isVisible())) await chat.open();
  assert.match(String(await chat.ended()), /^(stopped|cut)$/);
  assert.match(await chat.answer.innerText(), /Words before leaving/);
  assert.equal(await page.evaluate(() => window.name), "true", "it came from the cache");
  w.gemini.on("comes back", whole("Welcome [1]."));
  await chat.ask(`${QUESTION} comes back`);
  await chat.state("answered");
});

test("a reload while an answer is written leaves a turn that is over", async (t) => {
  const { page, chat } = await w.chat(t, { expected: [/ERR_/] });
  const left = gate();
  w.gemini.on("reloads", async (reply) => {
    reply.text("Words before the reload ");
    await reply.left;
    left.open();
  });
  await chat.ask(`${QUESTION} reloads`);
  await chat.answer.getByText("Words before").waitFor();
  await page.reload();
  await left.opened;
  await chat.open();
  assert.match(String(await chat.ended()), /^(stopped|cut)$/);
});

test("closing and opening again keeps what is written, also what came meanwhile", async (t) => {
  const { page, chat } = await w.chat(t);
  const rest = gate();
  w.gemini.on("closes", async (reply) => {
    reply.text("Before ");
    await rest.opened;
    reply.text("and after [1].");
    reply.finish();
  });
  await chat.ask(`${QUESTION} closes`);
  await chat.answer.getByText("Before").waitFor();
  await chat.button("Close").click();
  await chat.dialog.waitFor({ state: "hidden" });
  rest.open();
  await page.waitForFunction(() =>
    /** @type {any} */ (window).told.some((/** @type {any} */ e) => e.name === "answer"),
  );
  await chat.open();
  await chat.state("answered");
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
    const { page, chat } = await w.visit(t);
    await page.addInitScript(spoil);
    await page.reload();
    await chat.open();
    await chat.ask(QUESTION);
    assert.equal(await chat.ended(), "answered", name);
  }
  const { page, chat } = await w.chat(t);
  await chat.ask(QUESTION);
  await chat.ended();
  for (const junk of ["", "{", "null", "[]", "7", '"x"', '{"turns":7}', "[null]", '[{"a":1}]']) {
    await page.evaluate((text) => {
      for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, text);
    }, junk);
    await page.reload();
    await chat.open();
    await chat.ask(QUESTION);
    assert.equal(await chat.ended(), "answered", junk);
  }
});
