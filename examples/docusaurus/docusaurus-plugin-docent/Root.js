// Opens citations within the site, without loading the page again.

import SiteRoot from "@docent/site-root";
import { matchPath, useHistory } from "@docusaurus/router";
import useDocusaurusContext from "@docusaurus/useDocusaurusContext";
import { applyTrailingSlash } from "@docusaurus/utils-common";
import routes from "@generated/routes";
import { createElement, useEffect } from "react";

import { findSitePath } from "./page.mjs";

/** @param {{ children: import("react").ReactNode }} props */
export default function Root({ children }) {
  const history = useHistory();
  const { trailingSlash, baseUrl } = useDocusaurusContext().siteConfig;

  useEffect(() => {
    /** @param {CustomEvent<{ url: string }>} event */
    function openCitation(event) {
      const path = findSitePath(event.detail.url, { origin: location.origin, routes, matchPath });
      if (path === null) return;
      event.preventDefault();
      const to = applyTrailingSlash(path, { trailingSlash, baseUrl });
      const { pathname, search, hash } = history.location;
      // Replaces the same address, as a link does: the page scrolls there, and Back does not lead there twice.
      const state = { isCitation: true };
      if (to === pathname + search + hash) history.replace(to, state);
      else history.push(to, state);
    }
    document.addEventListener("docent:navigate", openCitation);
    return () => document.removeEventListener("docent:navigate", openCitation);
  }, [history, trailingSlash, baseUrl]);

  return createElement(SiteRoot, null, children);
}
