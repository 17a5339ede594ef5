// What follows from the address of a page. Pure, so that it can be tested without a site.

/**
 * @typedef {object} Version A version of the docs, as Docusaurus gives it to the browser.
 * @property {string} name
 * @property {string} path
 * @property {boolean} isLast
 *
 * @typedef {Record<string, { versions: Version[] }>} Docs The instances of the docs plugin by their id.
 *
 * @typedef {object} Route
 * @property {string} path
 * @property {boolean} [exact]
 * @property {Route[]} [routes]
 *
 * @typedef {(pathname: string, route: Route) => unknown} MatchPath As React Router has it.
 */

/** @param {string} path */
function decoded(path) {
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

/** @param {string} path */
const canonical = (path) => (decoded(path) ?? path).replace(/\/+$/, "");

/**
 * The name of the version that a page belongs to; on a page outside of the docs, the one readers start with.
 * @param {string} pathname
 * @param {Docs} docs
 * @returns {string | undefined}
 */
function versionOf(pathname, docs) {
  const page = canonical(pathname);
  const [active] = Object.values(docs)
    .flatMap(({ versions }) => versions)
    .map(({ name, path }) => ({ name, base: canonical(path) }))
    .filter(({ base }) => isBelow(page, base))
    .sort((a, b) => b.base.length - a.base.length);
  if (active) return active.name;
  const instances = Object.values(docs);
  const main = docs.default ?? (instances.length === 1 ? instances[0] : undefined);
  return main?.versions.find(({ isLast }) => isLast)?.name;
}

/**
 * The filter that questions from a page are sent with.
 * @param {string} pathname
 * @param {{ docs: Docs, language: string, filter: object }} site `filter` is merged over what the page says.
 */
export function filterOf(pathname, { docs, language, filter }) {
  const version = versionOf(pathname, docs);
  return { ...(version !== undefined && { version }), language, ...filter };
}

/**
 * Whether this build of the site has a page there. The route `*` is Docusaurus' page for what is not found.
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
 * The path, search and hash of an address that this build of the site can show without being loaded again, else null.
 * @param {string} url
 * @param {{ origin: string, routes: Route[], matchPath: MatchPath }} site
 */
export function pathOf(url, { origin, routes, matchPath }) {
  const address = new URL(url, origin);
  const pathname = decoded(address.pathname);
  if (address.origin !== origin || pathname === null) return null;
  if (!isPage(pathname, routes, matchPath)) return null;
  return address.pathname + address.search + address.hash;
}
