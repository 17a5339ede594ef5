// Compares the addresses that `docent index` gives to sections with the pages that Docusaurus builds from the
// same files. `DOCENT_BIN` names the binary.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { promisify } from "node:util";

import { facts } from "./facts.mjs";
import { readPages } from "./html.mjs";
import { FIXTURE_SITE, HANDBOOK_SITE } from "./sites.mjs";

const run = promisify(execFile);

const GERMAN = "i18n/de/docusaurus-plugin-content-docs/current";

/**
 * @typedef {object} Root
 * @property {string} site
 * @property {string} folder
 * @property {string} base Route of the folder.
 * @property {string[]} [others] Routes below `base` of other folders.
 * @property {string[]} [only] Pages of the folder, where all others below `base` come from elsewhere.
 */

/** @type {Root[]} */
const ROOTS = [
  { site: FIXTURE_SITE, folder: "fixture/docs", base: "/docs" },
  { site: FIXTURE_SITE, folder: "fixture/community", base: "/community" },
  { site: HANDBOOK_SITE, folder: "docs", base: "/docs", others: ["/docs/sample"] },
  { site: HANDBOOK_SITE, folder: "versioned_docs/version-sample", base: "/docs/sample" },
  // Docusaurus builds the pages that are not translated there too, in English.
  { site: HANDBOOK_SITE, folder: GERMAN, base: "/de/docs", only: ["/de/docs", "/de/docs/try-it"] },
];

/**
 * Sections of the fixture that need not be printed, and the reason. They may be printed, because they exist.
 */
const EXCEPTIONS = new Map([
  ["/docs/content/headings#footnote-label", "Docusaurus adds it above the footnotes"],
  ["/docs/content/jsx#written-as-jsx", "an element is no heading of Markdown"],
  ["/docs/content/common-mark#written-as-html", "an element is no heading of Markdown"],
]);

before(() => assert.ok(process.env.DOCENT_BIN, "DOCENT_BIN must name the built binary"));

/**
 * Returns the lines that `docent index` prints.
 * @param {Root} root
 */
async function printAddresses({ site, folder, base }) {
  const args = ["index", join(site, folder), "--route-base", base, "--dry-run"];
  const { stdout } = await run(process.env.DOCENT_BIN ?? "", args, {
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR ?? "/tmp" },
  });
  assert.ok(stdout.endsWith("\n"), "the last line must be whole");
  return stdout.slice(0, -1).split("\n");
}

/** Returns one form for an address that may be percent-encoded, and whose path may end with a slash. */
const normalizeAddress = (/** @type {string} */ address) => {
  const [path, ...anchor] = decodeURI(address).split("#");
  return [path.replace(/\/$/, ""), ...anchor].join("#");
};

/**
 * Returns the pages that Docusaurus built from a folder.
 * @param {Root} root
 */
async function readBuiltPages({ site, base, others = [], only }) {
  const pages = [...(await readPages(join(site, "build"), base)).values()];
  return pages.filter(({ route }) =>
    only ? only.includes(route) : !others.some((other) => `${route}/`.startsWith(`${other}/`)),
  );
}

for (const root of ROOTS) {
  test(`every address of ${root.folder} leads to an element of a page`, async () => {
    const pages = new Map((await readBuiltPages(root)).map((page) => [page.route, page]));
    const dead = (await printAddresses(root)).filter((address) => {
      const [route, anchor] = normalizeAddress(address).split("#");
      const page = pages.get(route);
      return !page || (anchor !== undefined && !page.ids.has(anchor));
    });
    assert.deepEqual(dead, [], "these are printed, but Docusaurus did not build them");
  });

  test(`every section of ${root.folder} has its address printed`, async () => {
    const addresses = new Set((await printAddresses(root)).map(normalizeAddress));
    const pages = await readBuiltPages(root);
    assert.notEqual(pages.length, 0);
    const missing = pages
      .filter((page) => !page.unlisted)
      .flatMap(({ route, sections }) =>
        sections
          .filter(({ anchor, text }) => anchor !== null && text !== "")
          .map(({ anchor }) => (anchor ? `${route}#${anchor}` : route)),
      )
      .filter((address) => !EXCEPTIONS.has(address) && !addresses.has(address));
    assert.deepEqual(missing, [], "Docusaurus built these, but they are not printed");
  });
}

test("every exception is one that Docusaurus builds", async () => {
  const pages = await readPages(join(FIXTURE_SITE, "build"), "/docs");
  for (const address of EXCEPTIONS.keys()) {
    const [route, anchor] = address.split("#");
    assert.ok(pages.get(route)?.ids.has(anchor), address);
  }
});

test("the facts are those of the installed packages", async () => {
  for (const [name, text] of Object.entries(facts)) {
    assert.equal(await readFile(join(FIXTURE_SITE, name), "utf8"), text, name);
  }
});
