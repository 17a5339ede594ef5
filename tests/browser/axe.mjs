// Runs axe, which finds barriers for readers with disabilities.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/** Returns axe's serious and critical findings on a page. @param {import("playwright-core").Page} page */
export async function findViolations(page) {
  const file = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  await page.evaluate(await readFile(file, "utf8"));
  const { violations } = await page.evaluate("axe.run(document)");
  return violations
    .filter((/** @type {any} */ v) => ["serious", "critical"].includes(v.impact))
    .map(
      (/** @type {any} */ v) =>
        `${v.id}: ${v.nodes.map((/** @type {any} */ n) => n.html + n.failureSummary).join("\n")}`,
    );
}
