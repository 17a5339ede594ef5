// Gives the chat the version and the language of the page, and moves the focus to a citation's heading.

import globalData from "@generated/globalData";
import i18n from "@generated/i18n";

import { buildFilter } from "./page.mjs";

const [{ filter }] = Object.values(globalData["docusaurus-plugin-docent"]);
const docs = globalData["docusaurus-plugin-content-docs"] ?? {};

/** Moves the focus to the heading, so that the keyboard continues from there. @param {string} hash */
function focusHeading(hash) {
  const heading = document.getElementById(decodeURIComponent(hash.slice(1)));
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}

/**
 * Updates the chat after a change of the page. Docusaurus calls this in the browser, first at the start.
 * @param {{ location: { pathname: string, hash: string, state?: { isCitation?: boolean } | null } }} update
 */
export function onRouteDidUpdate({ location }) {
  if (location.state?.isCitation) focusHeading(location.hash);
  if (filter === false) return;
  // Selects only the plugin's own element, because a page may have others.
  const chat = document.querySelector("body > docent-chat");
  const site = { docs, language: i18n.currentLocale, filter };
  chat?.setAttribute("filter", JSON.stringify(buildFilter(location.pathname, site)));
}
