// Docent's chat on a Docusaurus site: the part that runs in Node while the site is built.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const require = createRequire(import.meta.url);
// Also from the site, as Docusaurus does for the browser's part: a symlink to this folder brings no dependencies.
const validation = "@docusaurus/utils-validation";
const { Joi } = require(require.resolve(validation, { paths: [here, process.cwd()] }));

const NAME = "docusaurus-plugin-docent";

/** By language. */
const LABELS = new Map([
  ["en", "Ask AI"],
  ["de", "KI fragen"],
  ["ur", "AI سے پوچھیں"],
]);

/**
 * @typedef {string | number | boolean} Scalar
 *
 * @typedef {object} Options What the site may set.
 * @property {string} server Where Docent is: an http(s) URL, or a path of the site's own origin.
 * @property {"navbar" | "floating" | "none"} button Who brings the button that opens the chat; `none`: the site does.
 * @property {string} [label] Of the button in the navbar; by default in the language of the locale.
 * @property {"left" | "right"} position Of the button in the navbar.
 * @property {string[]} [suggestions] First questions.
 * @property {Record<string, string>} [words] Words of the interface by key.
 * @property {Record<string, Scalar | Scalar[]> | false} [filter] Merged over the version and the language of the page;
 *   `false`: no filter is sent.
 * @property {string} [shortcut] Key that opens the chat, or `none`.
 * @property {boolean} [selection] Whether selected text gets a button that asks about it.
 */

const scalar = Joi.alternatives(Joi.string(), Joi.number(), Joi.boolean());

const schema = Joi.object({
  server: Joi.string()
    .required()
    .custom((/** @type {string} */ value, helpers) =>
      isAddress(value) ? value.replace(/\/+$/, "") : helpers.error("server.address"),
    )
    .messages({
      "server.address":
        '{{#label}} must be an http(s) URL or an absolute path such as "/docent", without query and hash',
    }),
  button: Joi.valid("navbar", "floating", "none").default("navbar"),
  label: Joi.string(),
  position: Joi.valid("left", "right").default("right"),
  suggestions: Joi.array()
    .items(Joi.string().pattern(/\|/, { invert: true }))
    .messages({ "string.pattern.invert.base": '{{#label}} must not contain "|"' }),
  words: Joi.object().pattern(Joi.string(), Joi.string()),
  filter: Joi.alternatives(
    Joi.valid(false),
    Joi.object().pattern(Joi.string(), Joi.alternatives(scalar, Joi.array().items(scalar))),
  ).messages({
    "alternatives.types":
      "{{#label}} must be false or hold strings, numbers, booleans or lists of them",
    "alternatives.match":
      "{{#label}} must be false or hold strings, numbers, booleans or lists of them",
  }),
  shortcut: Joi.string(),
  selection: Joi.boolean(),
});

/** @param {string} value */
function isAddress(value) {
  if (/[?#\s]/.test(value)) return false;
  return /^\/(?!\/)/.test(value) || (/^https?:\/\//.test(value) && URL.canParse(value));
}

/**
 * @param {{ validate: (schema: unknown, options: unknown) => Options, options: unknown }} input
 * @throws where an option is unknown or wrong; the message names it.
 */
export function validateOptions({ validate, options }) {
  try {
    return validate(schema, options);
  } catch (error) {
    // Docusaurus does not say whose options these are.
    throw new Error(`${NAME}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** @param {string} text */
const escaped = (text) =>
  text.replace(/[&<>"']/g, (sign) => `&#${/** @type {number} */ (sign.codePointAt(0))};`);

/**
 * The site's theme configuration with the button behind its other items. A copy, because one configuration may serve
 * the builds of several locales.
 * @param {any} themeConfig
 * @param {Options} options
 * @param {string} locale
 */
function withButton(themeConfig, { label, position }, locale) {
  const text = label ?? LABELS.get(locale.split("-")[0]) ?? LABELS.get("en") ?? "";
  const button = `<button type="button" class="clean-btn navbar__link" data-docent-open>${escaped(text)}</button>`;
  const item = { type: "html", position, className: "docent-ask", value: button };
  const navbar = themeConfig.navbar ?? {};
  return { ...themeConfig, navbar: { ...navbar, items: [...(navbar.items ?? []), item] } };
}

/**
 * The element that is the chat.
 * @param {Options} options
 */
function element({ server, button, suggestions, words, filter, shortcut, selection }) {
  const attributes = Object.entries({
    server: server || "/",
    // The button of the navbar is an item of the theme, which React may render again at any time.
    button: button === "navbar" ? "none" : button,
    suggestions: suggestions?.join("|"),
    words: words && JSON.stringify(words),
    filter: filter === false ? "{}" : undefined,
    shortcut,
    selection: selection === false ? "off" : undefined,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${escaped(value)}"`]));
  return `<docent-chat ${attributes.join(" ")}></docent-chat>`;
}

/**
 * @param {any} context
 * @param {Options} options
 */
export default function docent(context, options) {
  const { siteConfig, i18n } = context;
  if (options.button === "navbar") {
    siteConfig.themeConfig = withButton(siteConfig.themeConfig, options, i18n.currentLocale);
  }

  return {
    name: NAME,

    async contentLoaded(/** @type {any} */ { actions }) {
      actions.setGlobalData({ filter: options.filter ?? {} });
    },

    getClientModules() {
      return ["./client.js", "./docent.css"];
    },

    // A string, because Docusaurus 3.0 refuses objects for elements that are not HTML's own.
    injectHtmlTags() {
      return {
        headTags: [
          {
            tagName: "script",
            attributes: { type: "module", src: `${options.server}/widget.js` },
          },
        ],
        postBodyTags: [element(options)],
      };
    },

    // Not by `getThemePath`: of several plugins with a `Root` only the last is used, and a site's own hides them all.
    configureWebpack(/** @type {any} */ config) {
      const alias = {
        "@theme/Root": `${here}Root.js`,
        "@docent/site-root": config.resolve.alias["@theme/Root"],
      };
      return { resolve: { alias } };
    },
  };
}
