// The handbook of Docent as a Docusaurus site.

/** @type {import("@docusaurus/types").Config} */
export default {
  title: "Docent",
  tagline: "Answers readers' questions on a documentation site",
  url: "http://localhost:3000",
  baseUrl: "/",
  // A link that leads nowhere, and one to a heading that is gone, fail the build.
  onBrokenLinks: "throw",
  onBrokenAnchors: "throw",
  markdown: { hooks: { onBrokenMarkdownLinks: "throw" } },
  plugins: [
    ["@docusaurus/plugin-content-docs", { routeBasePath: "docs", sidebarPath: "./sidebars.mjs" }],
    "@docusaurus/plugin-content-pages",
  ],
  themes: ["@docusaurus/theme-classic"],
  themeConfig: {
    navbar: {
      title: "Docent",
      items: [{ type: "docSidebar", sidebarId: "handbook", label: "Handbook" }],
    },
  },
};
