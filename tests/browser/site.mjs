// Serves documentation sites on origins of their own, under a policy that allows as little as a site can.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { closeServer, listenOnFreePort } from "./listen.mjs";

const findBuild = (/** @type {string} */ site) =>
  fileURLToPath(new URL(`${site}/build`, import.meta.url));

/** Built site of the handbook, with Docent's plugin. */
export const HANDBOOK = findBuild("../../examples/docusaurus");
/** Built site without the plugin. */
export const PLAIN = findBuild("../docusaurus");

/** Address of Docent that the handbook is built for. */
const BUILT_FOR = "http://127.0.0.1:8080";

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
};

const CSS = `
body { margin: 0; font: 16px/1.5 sans-serif; }
main { padding: 1rem; max-width: 40rem; }
.navbar { display: flex; justify-content: space-between; padding: 0.5rem 1rem; }
html[data-theme="dark"] body { background: #111; color: #eee; }
`;

/**
 * @typedef {object} PageOptions
 * @property {Record<string, string>} [data] Attributes `data-…` of the script.
 * @property {string} [element] HTML of `<docent-chat>`, where the page writes the element itself.
 * @property {string} [from] Address of the Docent that `widget.js` comes from; the first one by default.
 * @property {boolean} [module] True for a script of `type="module"`.
 * @property {string} [head]
 * @property {string} [body]
 * @property {string} [lang]
 * @property {string} [title]
 */

/** @param {Record<string, string>} attributes */
const formatAttributes = (attributes) =>
  Object.entries(attributes)
    .map(
      ([name, value]) => ` ${name}="${value.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}"`,
    )
    .join("");

/** Serves pages that tests write, and below them a page for every path of `/docs`. */
export async function startSite() {
  /** @type {Map<string, string>} */
  const pages = new Map();
  /** @type {string[]} */
  const trusted = [];
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://site");
    if (pathname === "/favicon.ico") return void response.writeHead(204).end();
    if (pathname === "/site.css") {
      response.writeHead(200, { "content-type": TYPES[".css"] });
      return void response.end(CSS);
    }
    const html =
      pages.get(pathname) ?? (pathname.startsWith("/docs/") ? pages.get("/docs/") : null);
    const policy = [
      "default-src 'none'",
      `script-src 'self' ${trusted.join(" ")}`,
      `connect-src ${trusted.join(" ")}`,
      "style-src 'self'",
      "img-src 'self'",
    ];
    response.writeHead(html ? 200 : 404, {
      "content-type": TYPES[".html"],
      "content-security-policy": policy.join("; "),
    });
    response.end(html ?? "");
  });
  const url = `http://localhost:${await listenOnFreePort(server)}`;

  return {
    url,
    /** Origins that pages may load scripts from, and may call. */
    trusted,
    close: () => closeServer(server),
    /** Adds a page and returns its address. @param {PageOptions} options @param {string} path */
    addPage(options = {}, path = `/page-${pages.size}`) {
      const { data = {}, element = "", module = false, head = "", body = "" } = options;
      const from = options.from ?? trusted[0];
      const own = Object.entries(data).map(([name, value]) => [`data-${name}`, value]);
      const script = { src: `${from}/widget.js`, ...Object.fromEntries(own) };
      pages.set(
        path,
        `<!doctype html>
<html lang="${options.lang ?? "en"}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${options.title ?? "A page of the docs"}</title>
<link rel="stylesheet" href="/site.css">
${head}
<script ${module ? 'type="module"' : "async"}${formatAttributes(script)}></script>
</head>
<body>
<main>
<h1>A page</h1>
<p id="prose">Docent writes one line per request to standard error.</p>
<label>Search <input id="search"></label>
${body}
${element}
</main>
</body>
</html>`,
      );
      return url + path;
    },
  };
}

/**
 * Serves a site that Docusaurus has built.
 *
 * @param {string} folder
 * @param {{ docent: () => string, head?: () => string }} options Address of Docent, and HTML for the head.
 */
export async function startDocusaurus(folder, { docent, head = () => "" }) {
  assert.ok(existsSync(folder), `${folder} is missing: run "npm ci && npm run build" beside it`);
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://site").pathname));
    const tries = extname(path) ? [path] : [join(path, "index.html"), `${path}.html`];
    for (const name of tries) {
      const type = TYPES[extname(name)] ?? "application/octet-stream";
      const bytes = await readFile(join(folder, name)).catch(() => null);
      if (!bytes) continue;
      const isText = [".html", ".js"].includes(extname(name));
      const text = bytes.toString().replaceAll(BUILT_FOR, docent());
      const body = isText ? text.replace("</head>", `${head()}</head>`) : bytes;
      const policy = [
        "default-src 'none'",
        // Docusaurus writes scripts and, for code, style attributes into its pages.
        `script-src 'self' 'unsafe-inline' ${docent()}`,
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        `connect-src 'self' ${docent()}`,
        "img-src 'self' data:",
        "font-src 'self'",
      ];
      response.writeHead(200, {
        "content-type": type,
        "content-security-policy": policy.join("; "),
      });
      return void response.end(body);
    }
    response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
  });
  const url = `http://localhost:${await listenOnFreePort(server)}`;
  return { url, close: () => closeServer(server) };
}
