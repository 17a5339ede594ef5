// The addresses that `docent index` gives to sections, against the pages that Docusaurus builds from the same files.
// `DOCENT_BIN` names the binary.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { facts } from "./facts.mjs";
import { pagesOf } from "./html.mjs";

const run = promisify(execFile);

const FIXTURE = fileURLToPath(new URL(".", import.meta.url));
const HANDBOOK = fileURLToPath(new URL("../../examples/docusaurus/", import.meta.url));

const ROOTS = [
  { site: FIXTURE, folder: "fixture/docs", base: "/docs" },
  { site: FIXTURE, folder: "fixture/community", base: "/community" },
  { site: HANDBOOK, folder: "docs", base: "/docs" },
];

/** Sections of the fixture that need not be printed, and why. They may be, because they exist. */
const EXCEPTIONS = new Map([
  ["/docs/content/headings#footnote-label", "Docusaurus adds it above the footnotes"],
  ["/docs/content/jsx#written-as-jsx", "an element is no heading of Markdown"],
  ["/docs/content/common-mark#written-as-html", "an element is no heading of Markdown"],
]);

before(async () => {
  assert.ok(process.env.DOCENT_BIN, "DOCENT_BIN must name the built binary");
  for (const cwd of [FIXTURE, HANDBOOK]) {
    if (!existsSync(join(cwd, "node_modules"))) {
      await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd });
    }
    await run("npm", ["run", "build"], { cwd });
  }
});

/**
 * The lines that `docent index` prints, as they are.
 * @param {(typeof ROOTS)[number]} root
 */
async function printed({ site, folder, base }) {
  const args = ["index", join(site, folder), "--route-base", base, "--dry-run"];
  const { stdout } = await run(process.env.DOCENT_BIN ?? "", args, {
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR ?? "/tmp" },
  });
  assert.ok(stdout.endsWith("\n"), "the last line must be whole");
  return stdout.slice(0, -1).split("\n");
}

/** One form for what may be percent-encoded or not, and may end its path with a slash or not. */
const canonical = (/** @type {string} */ address) => {
  const [path, ...anchor] = decodeURI(address).split("#");
  return [path.replace(/\/$/, ""), ...anchor].join("#");
};

for (const root of ROOTS) {
  const build = join(root.site, "build");

  test(`every address of ${root.folder} leads to an element of a page`, async () => {
    const pages = await pagesOf(build, root.base);
    const dead = (await printed(root)).filter((address) => {
      const [route, anchor] = canonical(address).split("#");
      const page = pages.get(route);
      return !page || (anchor !== undefined && !page.ids.has(anchor));
    });
    assert.deepEqual(dead, [], "these are printed, but Docusaurus did not build them");
  });

  test(`every section of ${root.folder} has its address printed`, async () => {
    const addresses = new Set((await printed(root)).map(canonical));
    const pages = [...(await pagesOf(build, root.base)).values()];
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
  const pages = await pagesOf(join(FIXTURE, "build"), "/docs");
  for (const address of EXCEPTIONS.keys()) {
    const [route, anchor] = address.split("#");
    assert.ok(pages.get(route)?.ids.has(anchor), address);
  }
});

test("the facts are those of the installed packages", async () => {
  for (const [name, text] of Object.entries(facts)) {
    assert.equal(await readFile(join(FIXTURE, name), "utf8"), text, name);
  }
});
