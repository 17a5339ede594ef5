// Puts Docent's chat on a Docusaurus site. This part runs in Node while the site is built.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const require = createRequire(import.meta.url);
// Looks in the site too, as Docusaurus does for the browser's part: a symlinked plugin has no dependencies.
const validation = "@docusaurus/utils-validation";
const { Joi } = require(require.resolve(validation, { paths: [here, process.cwd()] }));

const NAME = "docusaurus-plugin-docent";

/**
 * Labels of the button in the navbar, by language. The labels repeat `open` of `FIRST_WORDS` in Docent's
 * `static/widget.js`, because a site is built without Docent at hand, and shows the button before the widget is
 * loaded. A test compares both.
 */
const LABELS = new Map([
  ["en", "Ask AI"],
  ["de", "KI fragen"],
  ["ur", "AI سے پوچھیں"],
]);

/**
 * @typedef {string | number | boolean} Scalar
 *
 * @typedef {object} Options Describes the settings of a site.
 * @property {string} server Address of Docent: an http(s) URL, or a path of the site's own origin.
 * @property {"navbar" | "floating" | "none"} button Place of the button that opens the chat; `none` if the site
 * has its own button.
 * @property {string} [label] Label of the button in the navbar; by default in the language of the locale.
 * @property {"left" | "right"} position Side of the navbar for the button.
 * @property {string[]} [suggestions] First questions.
 * @property {Record<string, string>} [words] Words of the interface by key.
 * @property {Record<string, Scalar | Scalar[]> | false} [filter] Filter to merge over the version and the
 *   language of the page; `false` sends no filter.
 * @property {string} [shortcut] Key that opens the chat, or `none`.
 * @property {boolean} [selection] True for a button beside selected text that asks about it.
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
 * Checks the options and fills in defaults.
 *
 * @param {{ validate: (schema: unknown, options: unknown) => Options, options: unknown }} input
 * @throws Where an option is unknown or wrong; the message names it.
 */
export function validateOptions({ validate, options }) {
  try {
    return validate(schema, options);
  } catch (error) {
    // Docusaurus does not name the plugin whose options are wrong.
    throw new Error(`${NAME}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

/** @param {string} text */
const escapeHtml = (text) =>
  text.replace(/[&<>"']/g, (sign) => `&#${/** @type {number} */ (sign.codePointAt(0))};`);

/**
 * Returns the site's theme configuration with the button behind the other items of its navbar. Returns a copy,
 * because one configuration may serve the builds of several locales.
 *
 * @param {any} themeConfig
 * @param {Options} options
 * @param {string} locale
 */
function addNavbarButton(themeConfig, { label, position }, locale) {
  const text = label ?? LABELS.get(locale.split("-")[0]) ?? LABELS.get("en") ?? "";
  const button = `<button type="button" class="clean-btn navbar__link" data-docent-open>${escapeHtml(text)}</button>`;
  const item = { type: "html", position, className: "docent-ask", value: button };
  const navbar = themeConfig.navbar ?? {};
  return { ...themeConfig, navbar: { ...navbar, items: [...(navbar.items ?? []), item] } };
}

/**
 * Writes the HTML of the element that is the chat.
 *
 * @param {Options} options
 */
function writeElement({ server, button, suggestions, words, filter, shortcut, selection }) {
  const attributes = Object.entries({
    server: server || "/",
    // The theme renders the button of the navbar, since React may render a navbar again at any time.
    button: button === "navbar" ? "none" : button,
    suggestions: suggestions?.join("|"),
    words: words && JSON.stringify(words),
    filter: filter === false ? "{}" : undefined,
    shortcut,
    selection: selection === false ? "off" : undefined,
  }).flatMap(([name, value]) => (value === undefined ? [] : [`${name}="${escapeHtml(value)}"`]));
  return `<docent-chat ${attributes.join(" ")}></docent-chat>`;
}

/**
 * Creates the plugin, as Docusaurus requires.
 *
 * @param {any} context
 * @param {Options} options
 */
export default function docent(context, options) {
  const { siteConfig, i18n } = context;
  if (options.button === "navbar") {
    siteConfig.themeConfig = addNavbarButton(siteConfig.themeConfig, options, i18n.currentLocale);
  }

  return {
    name: NAME,

    async contentLoaded(/** @type {any} */ { actions }) {
      actions.setGlobalData({ filter: options.filter ?? {} });
    },

    getClientModules() {
      return ["./client.js", "./docent.css"];
    },

    // Writes a string, because Docusaurus 3.0 refuses objects for elements that are not HTML's own.
    injectHtmlTags() {
      return {
        headTags: [
          {
            tagName: "script",
            attributes: { type: "module", src: `${options.server}/widget.js` },
          },
        ],
        postBodyTags: [writeElement(options)],
      };
    },

    // Sets an alias, since `getThemePath` is not enough: Docusaurus uses the last of several plugins with a
    // `Root`, or the site's own and none of theirs.
    configureWebpack(/** @type {any} */ config) {
      const alias = {
        "@theme/Root": `${here}Root.js`,
        "@docent/site-root": config.resolve.alias["@theme/Root"],
      };
      return { resolve: { alias } };
    },
  };
}
