// Tests the plugin of `examples/docusaurus`: its options, the pages that are built with it, its routes and its
// filters.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { describe, test } from "node:test";

import docent, {
  validateOptions,
} from "../../examples/docusaurus/docusaurus-plugin-docent/index.mjs";
import {
  buildFilter,
  findSitePath,
} from "../../examples/docusaurus/docusaurus-plugin-docent/page.mjs";
import { HANDBOOK_SITE } from "./sites.mjs";

const require = createRequire(import.meta.url);
// Takes the copies that Docusaurus' own packages use.
const requireFromDocusaurus = createRequire(require.resolve("@docusaurus/core/package.json"));
const { normalizePluginOptions } = requireFromDocusaurus("@docusaurus/utils-validation");
const { matchPath } = requireFromDocusaurus("react-router-dom");

const SERVER = "https://docent.example.com";

/** @param {object} options */
const validate = (options) => validateOptions({ validate: normalizePluginOptions, options });

/**
 * Applies the plugin to a site.
 *
 * @param {object} options
 * @param {{ locale?: string, themeConfig?: object }} [site]
 */
function applyPlugin(options, { locale = "en", themeConfig = {} } = {}) {
  const siteConfig = { themeConfig };
  const i18n = { currentLocale: locale };
  const plugin = docent({ siteConfig, i18n }, validate({ server: SERVER, ...options }));
  const { headTags, postBodyTags } = plugin.injectHtmlTags();
  const { themeConfig: theme } = siteConfig;
  return { plugin, headTags, element: postBodyTags[0], theme, navbar: theme.navbar };
}

describe("options", () => {
  test("the options need nothing but the server", () => {
    const { button, position } = validate({ server: "/docent" });
    assert.deepEqual({ button, position }, { button: "navbar", position: "right" });
  });

  const wrong = [
    [{}, /"server" is required/],
    [{ server: "docent.example.com" }, /"server" must be an http\(s\) URL or an absolute path/],
    [{ server: "//docent.example.com" }, /"server" must be an http/],
    [{ server: "ftp://docent.example.com" }, /"server" must be an http/],
    [{ server: "https://" }, /"server" must be an http/],
    [{ server: `${SERVER}/?key=1` }, /"server" must be an http/],
    [{ server: 8080 }, /"server" must be a string/],
    [{ server: SERVER, buton: "navbar" }, /"buton" is not allowed/],
    [{ server: SERVER, button: "inline" }, /"button" must be one of \[navbar, floating, none\]/],
    [{ server: SERVER, label: "" }, /"label" is not allowed to be empty/],
    [{ server: SERVER, position: "top" }, /"position" must be one of \[left, right\]/],
    [{ server: SERVER, suggestions: "How?" }, /"suggestions" must be an array/],
    [{ server: SERVER, suggestions: ["a", "b|c"] }, /"suggestions\[1\]" must not contain "\|"/],
    [{ server: SERVER, words: { send: 1 } }, /"words\.send" must be a string/],
    [{ server: SERVER, filter: true }, /"filter" must be false or hold strings, numbers/],
    [{ server: SERVER, filter: { a: { b: 1 } } }, /"filter\.a" must be false or hold strings/],
    [{ server: SERVER, shortcut: false }, /"shortcut" must be a string/],
    [{ server: SERVER, selection: "off" }, /"selection" must be a boolean/],
  ];
  for (const [options, message] of wrong) {
    test(`the options ${JSON.stringify(options)} are refused by name`, () => {
      assert.throws(
        () => validate(/** @type {object} */ (options)),
        (/** @type {Error} */ error) => {
          assert.match(error.message, /** @type {RegExp} */ (message));
          assert.match(error.message, /^docusaurus-plugin-docent: /);
          return true;
        },
      );
    });
  }

  test("all options become attributes that a page can hold", () => {
    const { element } = applyPlugin({
      server: `${SERVER}/docent/`,
      button: "floating",
      suggestions: ["How?", 'What is "<b>"?'],
      words: { send: "Go" },
      filter: false,
      shortcut: "none",
      selection: false,
    });
    const attributes = [
      `server="${SERVER}/docent"`,
      'button="floating"',
      'suggestions="How?|What is &#34;&#60;b&#62;&#34;?"',
      'words="{&#34;send&#34;:&#34;Go&#34;}"',
      'filter="{}"',
      'shortcut="none"',
      'selection="off"',
    ];
    assert.equal(element, `<docent-chat ${attributes.join(" ")}></docent-chat>`);
  });

  test("options that are not set become no attributes", () => {
    const { element } = applyPlugin({
      button: "none",
      selection: true,
      filter: { audience: "all" },
    });
    assert.equal(element, `<docent-chat server="${SERVER}" button="none"></docent-chat>`);
  });
});

describe("the script", () => {
  for (const [server, src] of [
    [SERVER, `${SERVER}/widget.js`],
    ["/docent", "/docent/widget.js"],
    ["/", "/widget.js"],
  ]) {
    test(`the script of ${server} is ${src}`, () => {
      const { headTags, element } = applyPlugin({ server });
      assert.deepEqual(headTags[0].attributes, { type: "module", src });
      assert.ok(element.startsWith(`<docent-chat server="${server}" `));
    });
  }
});

describe("the button in the navbar", () => {
  test("the button comes after the items of the site, in a copy of their list", () => {
    const themeConfig = { prism: 1, navbar: { title: "Site", items: [{ to: "/a" }] } };
    const { theme, navbar } = applyPlugin({ position: "left", label: "Ask <us>" }, { themeConfig });
    assert.equal(theme.prism, 1);
    assert.equal(navbar.title, "Site");
    assert.equal(navbar.items.length, 2);
    assert.deepEqual(navbar.items[1], {
      type: "html",
      position: "left",
      className: "docent-ask",
      value:
        '<button type="button" class="clean-btn navbar__link" data-docent-open>Ask &#60;us&#62;</button>',
    });
    assert.equal(themeConfig.navbar.items.length, 1);
  });

  for (const [locale, label] of [
    ["en", "Ask AI"],
    ["de-AT", "KI fragen"],
    ["ur", "AI سے پوچھیں"],
    ["fr", "Ask AI"],
  ]) {
    test(`the button says "${label}" where the locale is ${locale}`, () => {
      assert.ok(applyPlugin({}, { locale }).navbar.items[0].value.includes(`>${label}</button>`));
    });
  }

  test("the button has the words of the widget's own button", async () => {
    const widget = await readFile(new URL("../../static/widget.js", import.meta.url), "utf8");
    const words = [...widget.matchAll(/^    (\w+): \{ open: "([^"]+)"/gm)];
    assert.equal(words.length, 3);
    for (const [, locale, open] of words) {
      assert.ok(applyPlugin({}, { locale }).navbar.items[0].value.includes(`>${open}</button>`));
    }
  });

  test("the button of the navbar is the only one: the element brings none", () => {
    assert.ok(applyPlugin({}).element.includes(' button="none"'));
  });

  for (const button of ["floating", "none"]) {
    test(`the navbar has no button where the option is ${button}`, () => {
      assert.equal(applyPlugin({ button }).navbar, undefined);
    });
  }
});

describe("the component around the site", () => {
  test("the component around the site keeps the one that was there", () => {
    const config = { resolve: { alias: { "@theme/Root": "/site/src/theme/Root.js" } } };
    const { alias } = applyPlugin({}).plugin.configureWebpack(config).resolve;
    assert.equal(alias["@docent/site-root"], "/site/src/theme/Root.js");
    assert.match(alias["@theme/Root"], /docusaurus-plugin-docent\/Root\.js$/);
  });
});

describe("a page that was built", () => {
  for (const [page, label, suggestion] of [
    ["index.html", "Ask AI", "What does Docent need?"],
    ["docs/sample/port/index.html", "Ask AI", "What does Docent need?"],
    ["de/index.html", "KI fragen", "Was braucht Docent?"],
    ["de/docs/try-it/index.html", "KI fragen", "Was braucht Docent?"],
  ]) {
    test(`the page ${page} has the script, the element and the button`, async () => {
      const html = await readFile(`${HANDBOOK_SITE}build/${page}`, "utf8");
      const [head, body] = html.split("</head>");
      assert.ok(head.includes('<script type="module" src="http://127.0.0.1:8080/widget.js">'));
      assert.equal(body.match(/<button [^>]*data-docent-open>[^<]*/g)?.length, 1);
      assert.ok(body.includes(`data-docent-open>${label}</button>`));
      assert.equal(body.match(/<docent-chat /g)?.length, 1);
      // Outside of what React renders, which begins at this element.
      const [, after] = body.split(/(?=<docent-chat )/);
      assert.match(after, /^<docent-chat server="http:\/\/127\.0\.0\.1:8080" button="none"/);
      assert.ok(after.includes(suggestion));
      assert.ok(!after.includes("navbar"), "the element stands behind the page");
    });
  }
});

const createVersion = (/** @type {string} */ name, /** @type {string} */ path, isLast = false) => ({
  name,
  path,
  isLast,
});

describe("the filter of a page", () => {
  const handbook = {
    versions: [
      createVersion("current", "/docs/next"),
      createVersion("2.x", "/docs", true),
      createVersion("1.x", "/docs/1.x"),
    ],
  };
  const community = { versions: [createVersion("spring", "/docs/1.x/community/", true)] };
  const site = { docs: { default: handbook, community }, language: "en", filter: {} };

  for (const [pathname, expected] of [
    ["/docs", "2.x"],
    ["/docs/", "2.x"],
    ["/docs/intro", "2.x"],
    ["/docs/next/intro/", "current"],
    ["/docs/nextcloud", "2.x"],
    ["/docs/1.x", "1.x"],
    ["/docs/1.x/community/team", "spring"],
    ["/blog", "2.x"],
    ["/documents", "2.x"],
  ]) {
    test(`the page ${pathname} is of version ${expected}`, () => {
      assert.deepEqual(buildFilter(pathname, site), { version: expected, language: "en" });
    });
  }

  test("a page outside of the docs is of the only instance, whatever its id", () => {
    const only = { ...site, docs: { handbook } };
    assert.equal(buildFilter("/", only).version, "2.x");
  });

  test("a page outside of the docs has no version where none of several instances is the main one", () => {
    const several = { ...site, docs: { handbook, community } };
    assert.deepEqual(buildFilter("/", several), { language: "en" });
  });

  test("a page has no version where there are no docs", () => {
    assert.deepEqual(buildFilter("/", { ...site, docs: {} }), { language: "en" });
  });

  test("a version is found for docs at the root of the site, and for names that are not ASCII", () => {
    const docs = {
      default: { versions: [createVersion("current", "/", true), createVersion("ü", "/%C3%BC")] },
    };
    assert.equal(buildFilter("/intro", { ...site, docs }).version, "current");
    assert.equal(buildFilter("/ü/intro", { ...site, docs }).version, "ü");
  });

  test("the site's own filter overrules that of the page", () => {
    const filter = { language: ["en", "de"], audience: "all" };
    assert.deepEqual(buildFilter("/docs", { ...site, filter }), { version: "2.x", ...filter });
  });
});

describe("citations", () => {
  const docs = [
    { path: "/docs/", exact: true },
    { path: "/docs/deploy", exact: true },
    { path: "/docs/Überblick", exact: true },
  ];
  const routes = [
    { path: "/docs", routes: docs },
    { path: "/app" },
    { path: "/", exact: true },
    { path: "*" },
  ];
  const origin = "https://docs.example.com";
  const site = { origin, routes, matchPath: (pathname, route) => matchPath(pathname, route) };

  for (const [address, path] of [
    ["/", "/"],
    ["/docs", "/docs"],
    ["/docs/deploy", "/docs/deploy"],
    ["/docs/deploy/", "/docs/deploy/"],
    ["/app/further", "/app/further"],
    ["/docs/deploy?a=b#with-docker", "/docs/deploy?a=b#with-docker"],
    ["/docs/%C3%9Cberblick#%C3%BC", "/docs/%C3%9Cberblick#%C3%BC"],
  ]) {
    test(`a citation of ${address} opens within the site`, () => {
      assert.equal(findSitePath(origin + address, site), path);
    });
  }

  for (const url of [
    "https://other.example.com/docs/deploy",
    "http://docs.example.com/docs/deploy",
    `${origin}/docs/nowhere`,
    `${origin}/docs/deploy/further`,
    `${origin}/de/docs/deploy`,
    `${origin}/file.pdf`,
    // React Router throws where an address cannot be decoded.
    `${origin}/app/%E0%A4`,
  ]) {
    test(`a citation of ${url} is left to the browser`, () => {
      assert.equal(findSitePath(url, site), null);
    });
  }
});
