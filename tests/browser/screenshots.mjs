// Takes pictures of the widget for people: `DOCENT_BIN=… node screenshots.mjs FOLDER`.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { launchBrowser } from "./chromium.mjs";
import { QUESTION } from "./fixture.mjs";
import { answerWith, createGate, startGemini } from "./gemini.mjs";
import { indexHandbook, startDemo, startServer } from "./servers.mjs";
import { HANDBOOK, startDocusaurus, startSite } from "./site.mjs";
import { locateWidget } from "./widget.mjs";

const folder = process.argv[2];
if (!folder) throw new Error("name the folder to write to");
await mkdir(folder, { recursive: true });

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

const data = await indexHandbook({ others: true });
const gemini = await startGemini();
const plain = await startSite();
let docent = "";
const handbook = await startDocusaurus(HANDBOOK, { docent: () => docent });
const server = await startServer({
  DOCENT_DATA: data.data,
  GOOGLE_GEMINI_BASE_URL: gemini.url,
  ALLOWED_ORIGINS: [handbook.url, plain.url].join(),
});
docent = server.url;
plain.trusted.push(docent);
const offline = await startDemo();
const browser = await launchBrowser();

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
  const chat = locateWidget(page);
  await page.goto(`${handbook.url}/docs/deploy`);
  await page.locator(".navbar").getByRole("button", { name: "Ask AI" }).waitFor();
  await shoot(page, "docusaurus", "page", theme, width);
  await chat.open();
  await shoot(page, "docusaurus", "empty", theme, width);
  const [first, rest] = [createGate(), createGate()];
  gemini.script(QUESTION, async (reply) => {
    await first.opened;
    reply.sendText(ANSWER.slice(0, 190));
    await rest.opened;
    reply.sendText(ANSWER.slice(190));
    reply.finishStream();
  });
  await chat.ask(QUESTION);
  await chat.sources.first().waitFor();
  await shoot(page, "docusaurus", "sources", theme, width);
  first.open();
  await chat.answer.getByText("ALLOWED_ORIGINS").first().waitFor();
  await shoot(page, "docusaurus", "streaming", theme, width);
  rest.open();
  await chat.waitForState("answered");
  await shoot(page, "docusaurus", "answered", theme, width);
  await chat.citations.last().focus();
  await shoot(page, "docusaurus", "citation", theme, width);
  gemini.script("error", (reply) => reply.sendError(503, "UNAVAILABLE"));
  await chat.ask("What does the error say?");
  await chat.waitForState("error");
  await shoot(page, "docusaurus", "error", theme, width);
  gemini.script("painted", answerWith("[NOT_IN_DOCS] The docs cover how to run Docent."));
  await chat.ask("Who painted the ceiling?");
  await chat.waitForState("not_in_docs");
  await shoot(page, "docusaurus", "not-in-docs", theme, width);
  await page.context().close();
}

/** @param {"light" | "dark"} theme @param {number} width */
async function shootUrdu(theme, width) {
  const page = await open(theme, width);
  const chat = locateWidget(page);
  await page.goto(plain.addPage({ lang: "ur", title: "دستاویزات" }));
  await page.evaluate((name) => (document.documentElement.dataset.theme = name), theme);
  await chat.open({ selection: "Docent writes one line per request." });
  gemini.script("اجازت", answerWith(URDU));
  await chat.ask("میں اپنی سائٹ کو Docent سے پوچھنے کی اجازت کیسے دوں؟ ALLOWED_ORIGINS");
  await chat.waitForEnd();
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
