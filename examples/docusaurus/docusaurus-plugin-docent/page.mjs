// Derives the filter and the route from the address of a page. Pure, so that tests need no site.

/**
 * @typedef {object} Version Describes a version of the docs, as Docusaurus gives it to the browser.
 * @property {string} name
 * @property {string} path
 * @property {boolean} isLast
 *
 * @typedef {Record<string, { versions: Version[] }>} Docs Holds the instances of the docs plugin by their id.
 *
 * @typedef {object} Route
 * @property {string} path
 * @property {boolean} [exact]
 * @property {Route[]} [routes]
 *
 * @typedef {(pathname: string, route: Route) => unknown} MatchPath Matches paths as React Router does.
 */

/** Decodes a path, or returns null if it cannot be decoded. @param {string} path */
function decodePath(path) {
  try {
    return decodeURI(path);
  } catch {
    return null;
  }
}

/**
 * @param {string} pathname
 * @param {string} base
 */
const isBelow = (pathname, base) => `${pathname}/`.startsWith(`${base}/`);

/** Returns one form for a path that may be percent-encoded, and may end with a slash. @param {string} path */
const normalizePath = (path) => (decodePath(path) ?? path).replace(/\/+$/, "");

/**
 * Finds the version of a page; for a page outside of the docs, the version with which readers start.
 * @param {string} pathname
 * @param {Docs} docs
 * @returns {string | undefined}
 */
function findVersion(pathname, docs) {
  const page = normalizePath(pathname);
  const [active] = Object.values(docs)
    .flatMap(({ versions }) => versions)
    .map(({ name, path }) => ({ name, base: normalizePath(path) }))
    .filter(({ base }) => isBelow(page, base))
    .sort((a, b) => b.base.length - a.base.length);
  if (active) return active.name;
  const instances = Object.values(docs);
  const main = docs.default ?? (instances.length === 1 ? instances[0] : undefined);
  return main?.versions.find(({ isLast }) => isLast)?.name;
}

/**
 * Builds the filter of questions that are asked on a page.
 * @param {string} pathname
 * @param {{ docs: Docs, language: string, filter: object }} site `filter` is merged over version and language.
 */
export function buildFilter(pathname, { docs, language, filter }) {
  const version = findVersion(pathname, docs);
  return { ...(version !== undefined && { version }), language, ...filter };
}

/**
 * Returns true if this build of the site has a page at the path. The route `*` is Docusaurus' page "not found".
 * @param {string} pathname
 * @param {Route[]} routes
 * @param {MatchPath} matchPath
 * @returns {boolean}
 */
function isPage(pathname, routes, matchPath) {
  return routes.some(
    (route) =>
      route.path !== "*" &&
      matchPath(pathname, route) &&
      (!route.routes || isPage(pathname, route.routes, matchPath)),
  );
}

/**
 * Returns path, search and hash of an address that the site can show without being loaded again, else null: for
 * another origin, and for pages of another build.
 * @param {string} url
 * @param {{ origin: string, routes: Route[], matchPath: MatchPath }} site
 */
export function findSitePath(url, { origin, routes, matchPath }) {
  const address = new URL(url, origin);
  const pathname = decodePath(address.pathname);
  if (address.origin !== origin || pathname === null) return null;
  if (!isPage(pathname, routes, matchPath)) return null;
  return address.pathname + address.search + address.hash;
}
