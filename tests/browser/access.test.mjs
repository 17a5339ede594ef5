// Tests the widget without a mouse, without sight, in other scripts, on paper, and without motion.

import assert from "node:assert/strict";
import { test } from "node:test";

import { findViolations } from "./axe.mjs";
import { answerWith, createGate } from "./gemini.mjs";
import { QUESTION, startFixture } from "./fixture.mjs";

const fixture = startFixture();

const RICH = `An *answer* with \`code\`, a [link](https://example.com) and a citation [1].

- a list
- of two [2]

| A | B |
|---|---|
| 1 | 2 |

> A quote.

\`\`\`sh
docent serve
\`\`\``;

for (const theme of /** @type {("light" | "dark")[]} */ (["light", "dark"])) {
  test(`axe finds nothing serious in the ${theme} theme`, async (t) => {
    const { page, chat } = await fixture.openPage(t, {
      // Axe would measure colours that are still fading in.
      context: { colorScheme: theme, reducedMotion: "reduce" },
    });
    await page.evaluate((name) => (document.documentElement.dataset.theme = name), theme);
    assert.deepEqual(await findViolations(page), [], "closed");
    await chat.open();
    assert.deepEqual(await findViolations(page), [], "empty");
    const rest = createGate();
    fixture.gemini.script(`axe ${theme}`, async (reply) => {
      reply.sendText(RICH);
      await rest.opened;
      reply.finishStream();
    });
    await chat.ask(`${QUESTION} axe ${theme}`);
    await chat.answer.getByText("A quote").waitFor();
    assert.deepEqual(await findViolations(page), [], "writing");
    rest.open();
    await chat.waitForState("answered");
    await chat.citations.first().focus();
    await chat.preview.waitFor();
    assert.deepEqual(await findViolations(page), [], "answered, with a preview");
    fixture.gemini.script(`error ${theme}`, (reply) => reply.sendError(503, "UNAVAILABLE"));
    await chat.ask(`${QUESTION} error ${theme}`);
    await chat.waitForState("error");
    assert.deepEqual(await findViolations(page), [], "error");
    await chat.open({ selection: "Some selected text" });
    assert.deepEqual(await findViolations(page), [], "with a quote");
  });
}

test("axe finds nothing serious in an inline chat, nor in Urdu", async (t) => {
  fixture.gemini.script("axe inline", answerWith(RICH));
  for (const lang of ["en", "ur"]) {
    const element = `<docent-chat inline lang="${lang}" suggestions="One?|Two?"></docent-chat>`;
    const { page, chat } = await fixture.openPage(t, {
      element,
      context: { reducedMotion: "reduce" },
    });
    await chat.box.waitFor();
    await chat.ask(`${QUESTION} axe inline`);
    await chat.waitForState("answered");
    assert.deepEqual(await findViolations(page), [], lang);
    await page.close();
  }
});

test("everything can be done with the keyboard alone", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  const readFocus = () =>
    page.evaluate(() => {
      const inner = document.querySelector("docent-chat")?.shadowRoot?.activeElement;
      return [
        document.activeElement?.localName,
        inner?.localName,
        inner?.getAttribute("aria-label") ?? inner?.textContent?.trim(),
      ].join(" ");
    });
  await chat.opener.waitFor();
  fixture.gemini.script("keyboard", answerWith("It [1] is\n\n```sh\ndocent\n```"));
  await page.locator("#search").focus();
  for (let tabs = 0; !(await readFocus()).includes("Ask AI"); tabs += 1) {
    assert.ok(tabs < 10, "the opener is not in the order of Tab");
    await page.keyboard.press("Tab");
  }
  await page.keyboard.press("Enter");
  await chat.box.waitFor();
  assert.match(await readFocus(), /docent-chat textarea/);
  await page.keyboard.type(`${QUESTION} keyboard`);
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("second line");
  assert.equal(await chat.box.inputValue(), `${QUESTION} keyboard\nsecond line`);
  assert.equal(await chat.turns.count(), 0);
  await page.keyboard.press("Enter");
  await chat.waitForState("answered");
  assert.equal(await chat.box.inputValue(), "");
  const seen = new Set();
  for (let tabs = 0; tabs < 40; tabs += 1) {
    await page.keyboard.press("Tab");
    const at = await readFocus();
    assert.match(at, /^docent-chat \w+/, `after ${tabs} tabs the focus left the dialog`);
    seen.add(at);
  }
  const order = [...seen].join("\n");
  for (const name of ["Close", "New conversation", "Copy code", "Copy answer", "textarea"])
    assert.ok(order.includes(name), `${name} is not among\n${order}`);
  for (let tabs = 0; tabs < 20; tabs += 1) {
    await page.keyboard.press("Shift+Tab");
    assert.match(await readFocus(), /^docent-chat \w+/);
  }
  for (let tabs = 0; !(await readFocus()).includes("docent-chat a "); tabs += 1) {
    assert.ok(tabs < 20, "no link to a source is in the order of Tab");
    await page.keyboard.press("Tab");
  }
  await chat.preview.waitFor();
  await page.keyboard.press("Escape");
  await chat.preview.waitFor({ state: "hidden" });
  assert.ok(await chat.dialog.isVisible(), "Escape ends one thing at a time");
  await page.keyboard.press("Escape");
  await chat.dialog.waitFor({ state: "hidden" });
  assert.match(await readFocus(), /Ask AI/);
});

test("the shortcut opens and closes, and the focus returns to where it was", async (t) => {
  const { page, chat } = await fixture.openPage(t, { body: '<button id="own">Own</button>' });
  await chat.opener.waitFor();
  await page.locator("#own").focus();
  await page.keyboard.press("Control+i");
  await chat.box.waitFor();
  await page.keyboard.press("Escape");
  await chat.dialog.waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement?.id), "own");
});

test("the shortcut does nothing while a reader types on the page", async (t) => {
  const body = `<textarea id="area" aria-label="a"></textarea><div id="edit" contenteditable="true">x</div>`;
  const { page, chat } = await fixture.openPage(t, { body });
  await chat.opener.waitFor();
  for (const id of ["search", "area", "edit"]) {
    await page.locator(`#${id}`).focus();
    await page.keyboard.press("Control+i");
    await page.keyboard.type("x");
  }
  assert.equal(await chat.box.count(), 0);
  assert.equal(await page.locator("#search").inputValue(), "x");
});

test("a question that is composed is not sent by the Enter that ends the composition", async (t) => {
  const { chat } = await fixture.openChat(t);
  await chat.box.fill("日本");
  await chat.box.evaluate((box) => {
    const enter = { key: "Enter", bubbles: true, composed: true, cancelable: true };
    box.dispatchEvent(new KeyboardEvent("keydown", { ...enter, isComposing: true }));
    box.dispatchEvent(new KeyboardEvent("keydown", { ...enter, keyCode: 229 }));
  });
  assert.equal(await chat.turns.count(), 0);
  assert.equal(await chat.box.inputValue(), "日本");
});

test("keys typed in the chat never reach the page", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  await page.evaluate(() => {
    const seen = /** @type {any} */ (window.seen = /** @type {string[]} */ ([]));
    for (const type of ["keydown", "keypress", "keyup"]) {
      document.addEventListener(type, () => seen.push(`document captures ${type}`), true);
      document.addEventListener(type, () => seen.push(`document ${type}`));
      document.body.addEventListener(type, () => seen.push(`body ${type}`));
      window.addEventListener(type, () => seen.push(`window ${type}`));
    }
  });
  await page.keyboard.press("s");
  assert.equal(
    await page.evaluate(() => /** @type {any} */ (window).seen.length),
    12,
    "it listens",
  );
  await chat.open();
  await page.evaluate(() => /** @type {any} */ (window.seen.length = 0));
  await page.keyboard.type("/sk?");
  await page.keyboard.press("Control+k");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.press("Enter");
  await chat.waitForEnd();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  assert.deepEqual(await page.evaluate(() => /** @type {any} */ (window).seen), []);
});

test("a screen reader hears of the start and the end only", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await chat.status.evaluate((status) => {
    const said = /** @type {any} */ (window.said = [status.textContent?.trim()]);
    new MutationObserver(() => {
      const text = status.textContent?.trim();
      if (text !== said.at(-1)) said.push(text);
    }).observe(status, { childList: true, characterData: true, subtree: true });
  });
  fixture.gemini.script("heard", async (reply) => {
    for (let n = 0; n < 60; n += 1) {
      reply.sendText(`word${n} `);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    reply.sendText("[1].");
    reply.finishStream();
  });
  await chat.ask(`${QUESTION} heard`);
  await chat.waitForState("answered");
  await page.waitForFunction(() => /** @type {any} */ (window).said.at(-1));
  const said = await page.evaluate(() => /** @type {any} */ (window).said);
  assert.ok(said.length >= 2 && said.length <= 4, said.join("\n"));
  for (const text of said) assert.doesNotMatch(text, /word/);
  const live = await chat.host.evaluate(
    (host) =>
      host.shadowRoot?.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]")
        .length,
  );
  const quiet = await chat.host.evaluate(
    (host) =>
      [
        ...(host.shadowRoot?.querySelectorAll("[role=log], [aria-live]:not([aria-live=off])") ??
          []),
      ].filter((e) => e.contains(host.shadowRoot?.querySelector(".answer") ?? null)).length,
  );
  assert.equal(quiet, 0, `the answer is in one of ${live} live regions`);
});

test("the tree of a screen reader has a named dialog, a named box and a named article", async (t) => {
  const { page, chat } = await fixture.openChat(t);
  await chat.ask(QUESTION);
  await chat.waitForEnd();
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const readNames = (/** @type {string} */ role) =>
    nodes.filter((n) => n.role?.value === role && !n.ignored).map((n) => n.name?.value);
  assert.equal(readNames("dialog").length, 1);
  assert.match(String(readNames("dialog")[0]), /\w/);
  assert.ok(readNames("textbox").includes("Your question"), readNames("textbox").join());
  for (const name of readNames("button")) assert.match(String(name), /\w/);
  for (const name of readNames("link")) assert.match(String(name), /\w|\d/);
});

test("Urdu is written from right to left, and nothing overflows", async (t) => {
  for (const width of [360, 1280]) {
    const { page, chat } = await fixture.openChat(t, {
      lang: "ur",
      context: { viewport: { width, height: 700 } },
    });
    fixture.gemini.script(
      "rtl",
      answerWith(
        "یہ جواب ہے [1]۔\n\n```sh\ndocent serve --a-very-long-option --another-very-long-option\n```\n\n| ا | ب |\n|---|---|\n| ج | د |\n\n- ایک\n- دو",
      ),
    );
    await chat.ask(`${QUESTION} rtl`);
    await chat.waitForState("answered");
    const readDirection = (/** @type {import("playwright-core").Locator} */ part) =>
      part.evaluate((e) => getComputedStyle(e).direction);
    for (const part of [chat.box, chat.answer, chat.turns.last()])
      assert.equal(await readDirection(part), "rtl");
    assert.equal(await readDirection(chat.answer.locator("pre")), "ltr", "code is never mirrored");
    const measureMiddle = async (/** @type {import("playwright-core").Locator} */ part) => {
      const box = await part.boundingBox();
      assert.ok(box);
      return box.x + box.width / 2;
    };
    // In English the button that closes stands at the right.
    const byName = chat.host.getByRole("button", { name: "بند کریں" });
    assert.ok(
      (await measureMiddle(byName)) < (await measureMiddle(chat.dialog)),
      "the layout is mirrored",
    );
    assert.equal(await measureOverflow(page), 0);
    const inside = await chat.dialog.evaluate((d) => d.scrollWidth - d.clientWidth);
    assert.ok(inside <= 1, `${inside} px in the dialog`);
    await page.close();
  }
});

/** Measures how far the page can be scrolled to the side. @param {import("playwright-core").Page} page */
const measureOverflow = (page) =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth - clientWidth;
  });

for (const width of [360, 768, 1440]) {
  test(`nothing scrolls to the side at ${width} px`, async (t) => {
    const { page, chat } = await fixture.openPage(t, {
      context: { viewport: { width, height: 640 } },
      data: { suggestions: `${"A long suggestion ".repeat(8)}|${"Unbroken".repeat(20)}` },
    });
    await chat.opener.waitFor();
    assert.equal(await measureOverflow(page), 0);
    await chat.open({ selection: `${"marked".repeat(60)} text` });
    assert.equal(await measureOverflow(page), 0);
    const long = "x".repeat(300);
    fixture.gemini.script(
      "wide",
      answerWith(
        `${long} \`${long}\` [${long}](https://example.com/${long}) [1]\n\n\`\`\`\n${long}\n\`\`\`\n\n|${` ${long} |`.repeat(4)}\n|${"---|".repeat(4)}\n|${" b |".repeat(4)}\n\n# ${long}\n\n- ${long}\n  - ${long}\n    - ${long}\n\n> ${long}`,
      ),
    );
    await chat.ask(`${QUESTION} wide ${long}`);
    await chat.waitForState("answered");
    assert.equal(await measureOverflow(page), 0);
    const box = await chat.dialog.boundingBox();
    assert.ok(box && box.x >= 0 && box.x + box.width <= width, JSON.stringify(box));
    const wider = await chat.host.evaluate((host) =>
      [...(host.shadowRoot?.querySelectorAll("dialog, .turn, .answer, .question") ?? [])]
        .filter((e) => e.scrollWidth > e.clientWidth + 1)
        .map((e) => `${e.localName}.${e.className} ${e.scrollWidth} > ${e.clientWidth}`),
    );
    assert.deepEqual(wider, []);
    for (const name of ["Send", "Close"]) {
      const button = await chat.button(name).boundingBox();
      assert.ok(button && button.x >= 0 && button.x + button.width <= width, name);
    }
  });
}

test("on paper there is no chat", async (t) => {
  const { page, chat } = await fixture.openPage(t);
  await chat.opener.waitFor();
  await chat.open();
  await page.emulateMedia({ media: "print" });
  assert.equal(await chat.opener.isVisible(), false);
  assert.equal(await chat.dialog.isVisible(), false);
  await page.emulateMedia({ media: "screen" });
  assert.equal(await chat.dialog.isVisible(), true);
});

test("a reader who wants no motion sees none", async (t) => {
  const { page, chat } = await fixture.openPage(t, { context: { reducedMotion: "reduce" } });
  await chat.open();
  const rest = createGate();
  fixture.gemini.script("motion", async (reply) => {
    await rest.opened;
    reply.sendText("Now [1].");
    reply.finishStream();
  });
  const findMotion = () =>
    chat.host.evaluate((host) =>
      (host.shadowRoot?.getAnimations() ?? [])
        .filter(
          (a) => a.playState === "running" && Number(a.effect?.getComputedTiming().duration) > 1,
        )
        .map(
          (a) => /** @type {any} */ (a).animationName ?? /** @type {any} */ (a).transitionProperty,
        ),
    );
  assert.deepEqual(await findMotion(), []);
  await chat.ask(`${QUESTION} motion`);
  await chat.waitForState("writing");
  assert.deepEqual(await findMotion(), []);
  rest.open();
  await chat.waitForState("answered");
  assert.deepEqual(await findMotion(), []);
});
