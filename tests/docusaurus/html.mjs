// Reads the addresses and sections of the pages that Docusaurus built.

import { readFile, readdir } from "node:fs/promises";
import { join, sep } from "node:path";

/**
 * @typedef {object} Section
 * @property {string | null} anchor Id of the heading; `""` above the first one, null for a heading without id.
 * @property {string} text Text between this heading and the next one.
 */

/**
 * @typedef {object} Page
 * @property {string} route Address without a slash at its end.
 * @property {boolean} unlisted
 * @property {Set<string>} ids Ids of all elements.
 * @property {Section[]} sections
 */

const TAG = /<!--[^]*?-->|<(\/?)([a-z][a-z\d-]*)((?:"[^"]*"|[^">])*)>/gi;
const VOID = new Set(["br", "hr", "img", "input", "source", "wbr"]);
const NAMED = new Map(Object.entries({ amp: "&", lt: "<", gt: ">", quot: '"' }));

/** @param {string} text */
function unescapeHtml(text) {
  return text
    .replace(/&#(x?)([\da-f]+);/gi, (_, hex, code) =>
      String.fromCodePoint(parseInt(code, hex ? 16 : 10)),
    )
    .replace(/&(\w+);/g, (whole, name) => NAMED.get(name) ?? whole);
}

/**
 * @param {string} attributes
 * @param {string} name
 */
function readAttribute(attributes, name) {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1];
  return value === undefined ? null : unescapeHtml(value);
}

/** Returns true if the theme wrote an element's text: names of tabs and titles of boxes are in no section. */
const isThemeText = (/** @type {string} */ attributes) =>
  readAttribute(attributes, "role") === "tab" ||
  /^admonitionHeading_/.test(readAttribute(attributes, "class") ?? "");

/**
 * Returns the sections of a page's Markdown, in their order.
 *
 * @param {string} html
 */
function readSections(html) {
  const from = html.indexOf('<div class="theme-doc-markdown');
  /** @type {Section[]} */
  const found = [{ anchor: "", text: "" }];
  let depth = 0;
  /** Depth of the heading or the element of the theme whose text is left out. */
  let skipped = Infinity;
  let end = from;
  for (const match of html.slice(from).matchAll(TAG)) {
    const [tag, closing, name = "", attributes = ""] = match;
    const at = from + match.index;
    if (depth < skipped) found[found.length - 1].text += html.slice(end, at);
    end = at + tag.length;
    if (!name || VOID.has(name) || attributes.endsWith("/")) continue;
    if (closing) {
      depth -= 1;
      if (depth <= skipped) skipped = Infinity;
      if (depth === 0) break;
      continue;
    }
    if (/^h[1-6]$/.test(name)) {
      // The title is no section; another heading of the first level begins a section without an address.
      const title = name === "h1" && found.length === 1 && found[0].text.trim() === "";
      if (!title) found.push({ anchor: readAttribute(attributes, "id"), text: "" });
      skipped = Math.min(skipped, depth);
    } else if (isThemeText(attributes)) {
      skipped = Math.min(skipped, depth);
    }
    depth += 1;
  }
  return found.map(({ anchor, text }) => ({ anchor, text: unescapeHtml(text).trim() }));
}

/**
 * Returns every page with Markdown below `base`, by its route.
 *
 * @param {string} build Folder that Docusaurus built.
 * @param {string} base
 */
export async function readPages(build, base) {
  /** @type {Map<string, Page>} */
  const pages = new Map();
  for (const file of await readdir(join(build, base), { recursive: true })) {
    if (!file.endsWith(".html")) continue;
    const html = await readFile(join(build, base, file), "utf8");
    if (!html.includes('<div class="theme-doc-markdown')) continue;
    const path = file
      .split(sep)
      .join("/")
      .replace(/\/?index\.html$|\.html$/, "");
    const route = path ? `${base}/${path}` : base;
    const ids = [...html.matchAll(/<[a-z][^>]*\sid="([^"]*)"/gi)].map(([, id]) => unescapeHtml(id));
    const unlisted = /<meta [^>]*name="robots" content="noindex/.test(html);
    pages.set(route, { route, unlisted, ids: new Set(ids), sections: readSections(html) });
  }
  return pages;
}
