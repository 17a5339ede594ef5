// Configures the handbook of Docent as a Docusaurus site, with Docent's chat on it.

const SUGGESTIONS = {
  en: ["How do I put Docent on my site?", "How do I index my docs?", "What does Docent need?"],
  de: ["Wie starte ich die Demo?", "Was braucht Docent?", "Wie sieht eine Antwort aus?"],
};

/** @type {import("@docusaurus/types").Config} */
export default {
  title: "Docent",
  tagline: "Answers readers' questions on a documentation site",
  url: "http://localhost:3000",
  baseUrl: "/",
  // Fails the build on a link that leads nowhere, or to a heading that is gone.
  onBrokenLinks: "throw",
  onBrokenAnchors: "throw",
  markdown: { hooks: { onBrokenMarkdownLinks: "throw" } },
  i18n: { defaultLocale: "en", locales: ["en", "de"] },
  plugins: [
    [
      "@docusaurus/plugin-content-docs",
      {
        routeBasePath: "docs",
        sidebarPath: "./sidebars.mjs",
        lastVersion: "current",
        versions: { current: { label: "Current" }, sample: { label: "Sample", banner: "none" } },
      },
    ],
    "@docusaurus/plugin-content-pages",
    // Without the plugin, one line is enough; citations then load the page that they lead to:
    // scripts: [{ src: "http://127.0.0.1:8080/widget.js", async: true }],
    [
      "docusaurus-plugin-docent",
      {
        server: process.env.DOCENT_URL ?? "http://127.0.0.1:8080",
        suggestions: SUGGESTIONS[process.env.DOCUSAURUS_CURRENT_LOCALE ?? "en"],
      },
    ],
  ],
  themes: [["@docusaurus/theme-classic", { customCss: "./src/css/custom.css" }]],
  themeConfig: {
    colorMode: { respectPrefersColorScheme: true },
    navbar: {
      title: "Docent",
      items: [
        { type: "docSidebar", sidebarId: "handbook", label: "Handbook" },
        { type: "docsVersionDropdown", position: "right" },
        { type: "localeDropdown", position: "right" },
      ],
    },
  },
};
