// Pictures of the widget, for people to look at: `DOCENT_BIN=… node screenshots.mjs FOLDER`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { launch } from "./chromium.mjs";
import { gate, startGemini, whole } from "./gemini.mjs";
import { demo, index, serve } from "./servers.mjs";
import { HANDBOOK, startDocusaurus, startSite } from "./site.mjs";
import { widget } from "./widget.mjs";

const folder = process.argv[2];
if (!folder) throw new Error("name the folder to write to");
await mkdir(folder, { recursive: true });

const QUESTION = "How do I allow my site to call Docent?";
const ANSWER = `Set \`ALLOWED_ORIGINS\` to the **origin** of your site [1]:

\`\`\`sh
ALLOWED_ORIGINS=https://docs.example.com docent serve
\`\`\`

- An origin has no path [1].
- Several are separated by commas [2].
  - \`*\` allows every site.

| Value | Meaning |
|---|---|
| unset | only Docent's own pages [1] |
| \`*\` | every site [3] |

> A browser that reports a CORS error means that the origin is not allowed.`;
const URDU = `اپنی سائٹ کا **origin** متغیر \`ALLOWED_ORIGINS\` میں لکھیں [1]:

\`\`\`sh
ALLOWED_ORIGINS=https://docs.example.com docent serve
\`\`\`

- ایک origin میں راستہ نہیں ہوتا [1]۔
- کئی ہوں تو انہیں کوما سے الگ کریں [2]۔`;

const data = await index({ others: true });
const gemini = await startGemini();
const plain = await startSite();
let docent = "";
const handbook = await startDocusaurus(HANDBOOK, { docent: () => docent });
const server = await serve({
  DOCENT_DATA: data.data,
  GOOGLE_GEMINI_BASE_URL: gemini.url,
  ALLOWED_ORIGINS: [handbook.url, plain.url].join(),
});
docent = server.url;
plain.trusted.push(docent);
const offline = await demo();
const browser = await launch();

/** @param {import("playwright-core").Page} page @param {...(string | number)} name */
const shoot = (page, ...name) => page.screenshot({ path: join(folder, `${name.join("-")}.png`) });

/** @param {"light" | "dark"} theme @param {number} width */
async function open(theme, width) {
  const viewport = { width, height: width < 500 ? 740 : 900 };
  const context = await browser.newContext({
    colorScheme: theme,
    viewport,
    reducedMotion: "reduce",
  });
  return context.newPage();
}

/** @param {"light" | "dark"} theme @param {number} width */
async function shootHandbook(theme, width) {
  const page = await open(theme, width);
  const chat = widget(page);
  await page.goto(`${handbook.url}/docs/deploy`);
  await page.locator(".navbar").getByRole("button", { name: "Ask AI" }).waitFor();
  await shoot(page, "docusaurus", "page", theme, width);
  await chat.open();
  await shoot(page, "docusaurus", "empty", theme, width);
  const [first, rest] = [gate(), gate()];
  gemini.on(QUESTION, async (reply) => {
    await first.opened;
    reply.text(ANSWER.slice(0, 190));
    await rest.opened;
    reply.text(ANSWER.slice(190));
    reply.finish();
  });
  await chat.ask(QUESTION);
  await chat.sources.first().waitFor();
  await shoot(page, "docusaurus", "sources", theme, width);
  first.open();
  await chat.answer.getByText("ALLOWED_ORIGINS").first().waitFor();
  await shoot(page, "docusaurus", "streaming", theme, width);
  rest.open();
  await chat.state("answered");
  await shoot(page, "docusaurus", "answered", theme, width);
  await chat.citations.last().focus();
  await shoot(page, "docusaurus", "citation", theme, width);
  gemini.on("error", (reply) => reply.error(503, "UNAVAILABLE"));
  await chat.ask("What does the error say?");
  await chat.state("error");
  await shoot(page, "docusaurus", "error", theme, width);
  gemini.on("painted", whole("[NOT_IN_DOCS] The docs cover how to run Docent."));
  await chat.ask("Who painted the ceiling?");
  await chat.state("not_in_docs");
  await shoot(page, "docusaurus", "not-in-docs", theme, width);
  await page.context().close();
}

/** @param {"light" | "dark"} theme @param {number} width */
async function shootUrdu(theme, width) {
  const page = await open(theme, width);
  const chat = widget(page);
  await page.goto(plain.page({ lang: "ur", title: "دستاویزات" }));
  await page.evaluate((name) => (document.documentElement.dataset.theme = name), theme);
  await chat.open({ selection: "Docent writes one line per request." });
  gemini.on("اجازت", whole(URDU));
  await chat.ask("میں اپنی سائٹ کو Docent سے پوچھنے کی اجازت کیسے دوں؟ ALLOWED_ORIGINS");
  await chat.ended();
  await shoot(page, "urdu", theme, width);
  await page.context().close();
}

/** @param {"light" | "dark"} theme @param {number} width */
async function shootDemo(theme, width) {
  const page = await open(theme, width);
  await page.goto(offline.url);
  await page.waitForLoadState("networkidle");
  await shoot(page, "demo", "page", theme, width);
  await page.locator("#question, docent-chat textarea").first().fill(QUESTION);
  await page.keyboard.press("Enter");
  await page.locator(".citation").first().waitFor();
  await shoot(page, "demo", "streaming", theme, width);
  await page.getByText("Copy answer").or(page.getByText("Answered from")).first().waitFor();
  await shoot(page, "demo", "answered", theme, width);
  await page.context().close();
}

try {
  for (const theme of /** @type {("light" | "dark")[]} */ (["light", "dark"])) {
    for (const width of [360, 1440]) {
      await shootHandbook(theme, width);
      await shootUrdu(theme, width);
      await shootDemo(theme, width);
    }
  }
} finally {
  await browser.close();
  await Promise.all([server.stop(), offline.stop(), data.remove()]);
  for (const part of [gemini, plain, handbook]) part.close();
}
