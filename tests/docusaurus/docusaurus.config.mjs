// Configures the fixture as a site, whose built pages `addresses.test.mjs` compares with.

/** @type {import("@docusaurus/types").Config} */
export default {
  title: "Kettle",
  url: "http://localhost:3000",
  baseUrl: "/",
  onBrokenLinks: "ignore",
  onDuplicateRoutes: "throw",
  plugins: [
    ["@docusaurus/plugin-content-docs", { path: "fixture/docs", routeBasePath: "docs" }],
    [
      "@docusaurus/plugin-content-docs",
      { id: "community", path: "fixture/community", routeBasePath: "community" },
    ],
  ],
  themes: ["@docusaurus/theme-classic"],
};
