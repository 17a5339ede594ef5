// Tests the element among others: moved, removed, twice on a page, below other scripts.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerWith, createGate } from "./gemini.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

const fixture = startFixture();

const TWO = `<docent-chat button="none"></docent-chat>
  <main><p>Text</p><docent-chat inline id="inline"></docent-chat></main>`;

test("an element that is moved keeps its looks, and opens as a dialog again", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  const looks = () => chat.dialog.evaluate((node) => getComputedStyle(node).position);
  assert.equal(await looks(), "fixed");
  await chat.host.evaluate((host) => {
    host.remove();
    document.querySelector("main")?.append(host);
  });
  assert.equal(await chat.dialog.isVisible(), false, "it was closed");
  await chat.open();
  assert.equal(await looks(), "fixed");
  assert.equal(await chat.dialog.evaluate((node) => node.matches(":modal")), true);
  await page.keyboard.press("Escape");
  await chat.host.evaluate((host) => host.remove());
  await page.keyboard.press("Control+i"); // An error in the page would fail the test.
});

test("a chat that is idle does not overwrite what another one on the page keeps", async (t) => {
  const { page } = await fixture.openPage(t, { element: TWO });
  const inline = page.locator("#inline");
  await page.evaluate(() => /** @type {any} */ (document.querySelector("docent-chat")).open());
  await page.locator("docent-chat dialog[open]").waitFor();
  await page.keyboard.press("Escape");
  await inline.locator("textarea").fill(QUESTION);
  await inline.locator("textarea").press("Enter");
  await inline.locator('.state[data-state="answered"]').waitFor();
  await page.reload();
  await inline.locator(".turn").waitFor();
  assert.equal(await inline.locator(".question").innerText(), QUESTION);
});

test("one click opens one dialog, and follows no link", async (t) => {
  const body = `<a id="ask" href="/elsewhere" data-docent-open="Why?">Ask</a>
    <docent-chat></docent-chat><docent-chat id="second"></docent-chat>`;
  const { page } = await fixture.openPage(t, { element: body });
  await page.click("#ask");
  await page.locator("docent-chat dialog[open]").waitFor();
  assert.equal(await page.locator("docent-chat dialog[open]").count(), 1);
  assert.doesNotMatch(page.url(), /elsewhere/);
  assert.equal(await page.locator("dialog[open] textarea").inputValue(), "Why?");
});

test("a chat in the page does not scroll the page", async (t) => {
  const body = `<div id="tall"></div><docent-chat inline></docent-chat>`;
  const { page, chat } = await fixture.openPage(t, { element: body });
  await chat.box.waitFor();
  await page.evaluate(() => {
    const tall = /** @type {HTMLElement} */ (document.getElementById("tall"));
    tall.style.height = "300px";
    document.body.style.paddingBottom = "2000px";
    scrollTo(0, 200);
  });
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  assert.equal(await page.evaluate(() => scrollY), 200);
  const top = await chat.turns.last().evaluate((turn) => turn.getBoundingClientRect().top);
  const log = await chat.host.locator(".log").evaluate((node) => node.getBoundingClientRect().top);
  assert.ok(Math.abs(top - log) < 3, "the newest question stands at the top of the chat");
});

test("a citation keeps its focus while the answer goes on", async (t) => {
  const more = createGate();
  fixture.gemini.script("goes on", async (reply) => {
    reply.sendText("Here [1] ");
    await more.opened;
    reply.sendText("and more ", "and more.");
    reply.finishStream();
  });
  const { chat } = await fixture.openChat(t);
  await chat.ask(`${QUESTION} goes on`);
  await chat.citations.first().focus();
  await chat.preview.waitFor();
  more.open();
  await chat.waitForState("answered");
  assert.match(await chat.answer.innerText(), /and more and more/);
  assert.equal(await chat.citations.first().evaluate((node) => node.matches(":focus")), true);
});

test("focus stays in the chat after a suggestion, after trying again and without its quote", async (t) => {
  const expected = [/status of 503/];
  const { page, chat } = await fixture.openPage(t, { data: { suggestions: QUESTION }, expected });
  await chat.open({ selection: "Some words" });
  const inside = () => chat.dialog.evaluate((node) => node.matches(":focus-within"));
  await chat.button("Remove the quoted text").press("Enter");
  assert.equal(await inside(), true, "quote");
  await page.route("**/chat", (route) => route.fulfill({ status: 503, body: "" }));
  await chat.button(QUESTION).press("Enter");
  await chat.waitForState("error");
  assert.equal(await inside(), true, "suggestion");
  await page.unroute("**/chat");
  await chat.button("Try again").press("Enter");
  await chat.waitForState("answered");
  assert.equal(await inside(), true, "try again");
});

test("the status says that an answer is complete only where it is", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  fixture.gemini.script("complete", answerWith("Yes [1]."));
  await chat.ask(`${QUESTION} complete`);
  await chat.waitForState("answered");
  assert.match(await chat.status.innerText(), /complete/);
  await page.route("**/chat", (route) =>
    route.fulfill({ status: 200, contentType: "text/event-stream", body: "" }),
  );
  await chat.ask("Anything?");
  await chat.waitForState("cut");
  assert.equal(await chat.status.innerText(), "The answer broke off.");
});

test("a table may follow a line of text at once", async (t) => {
  fixture.gemini.script("table", answerWith("Options [1]:\n| A | B |\n|---|--:|\n| one | 2 |\n"));
  const { chat } = await fixture.openChat(t);
  await chat.ask(`${QUESTION} table`);
  await chat.waitForState("answered");
  assert.equal(await chat.answer.locator("table th").first().innerText(), "A");
  assert.equal(await chat.answer.locator("td.end").innerText(), "2");
  assert.match(await chat.answer.locator("p").innerText(), /^Options 1\s*:$/);
});
