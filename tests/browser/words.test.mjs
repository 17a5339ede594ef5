// Tests that the interface has all words in every language.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

/** Reads a file of the widget. @param {string} name */
const readSource = (name) => readFile(new URL(`../../static/${name}`, import.meta.url), "utf8");

test("every language has the same words, in both files that hold some", async () => {
  const module = encodeURIComponent(await readSource("widget/words.js"));
  const { WORDS } = await import(`data:text/javascript,${module}`);
  const first = [...(await readSource("widget.js")).matchAll(/^    (\w+): \{ open: .* failed: /gm)];
  assert.deepEqual(
    first.map(([, language]) => language),
    Object.keys(WORDS),
  );
  for (const [language, words] of Object.entries(WORDS))
    assert.deepEqual(Object.keys(words), Object.keys(WORDS.en), language);
});
