// Orders the pages of the handbook. The label of a page is its title.

/** @type {import("@docusaurus/plugin-content-docs").SidebarsConfig} */
export default {
  handbook: [
    "intro",
    "try-it",
    "docusaurus",
    "widget",
    "deploy",
    "operate",
    "index-your-docs",
    "reindex-from-ci",
    "configure",
    "http-api",
    "stream",
    "errors",
    "how-it-works",
    "grounding",
  ],
};
