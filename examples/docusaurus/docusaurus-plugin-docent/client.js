// Tells the chat which version and language the reader is looking at, and takes the focus to a citation's heading.

import globalData from "@generated/globalData";
import i18n from "@generated/i18n";

import { filterOf } from "./page.mjs";

const [{ filter }] = Object.values(globalData["docusaurus-plugin-docent"]);
const docs = globalData["docusaurus-plugin-content-docs"] ?? {};

/** The keyboard goes on from the heading. @param {string} hash */
function focus(hash) {
  const heading = document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/**
 * Docusaurus calls this in the browser, at the start and after each change of the page.
 * @param {{ location: { pathname: string, hash: string, state?: { isCitation?: boolean } | null } }} update
 */
export function onRouteDidUpdate({ location }) {
  if (location.state?.isCitation) focus(location.hash);
  if (filter === false) return;
  // Only the plugin's own element: a page may hold further ones.
  const chat = document.querySelector("body > docent-chat");
  const site = { docs, language: i18n.currentLocale, filter };
  chat?.setAttribute("filter", JSON.stringify(filterOf(location.pathname, site)));
}
