// Finds the parts of the widget as a reader does: by roles and names, in English.

/** States of a turn that is over. */
export const FINAL_STATES = [
  "answered",
  "uncited",
  "not_in_docs",
  "search_only",
  "max_tokens",
  "safety",
  "recitation",
  "blocked",
  "other",
  "stopped",
  "cut",
  "error",
];

/**
 * Returns the parts of the widget on a page, and the steps that a reader takes.
 * @param {import("playwright-core").Page} page
 */
export function locateWidget(page) {
  const host = page.locator("docent-chat");
  const dialog = host.locator("dialog.panel");
  const turns = host.locator("article.turn");
  const box = host.locator("textarea");
  return {
    host,
    dialog,
    turns,
    box,
    opener: host.locator("button.opener"),
    status: host.locator("[role=status]"),
    preview: host.locator(".preview"),
    answer: turns.last().locator(".answer"),
    citations: turns.last().locator("a.citation"),
    sources: turns.last().locator(".sources li a"),
    about: host.locator("button.about"),
    /** @param {string} name */
    button: (name) => host.getByRole("button", { name, exact: true }),
    /** Opens the chat by its method, once the element is defined. @param {object} [options] */
    async open(options) {
      await page.waitForFunction(() => customElements.get("docent-chat"));
      await page.waitForSelector("docent-chat", { state: "attached" });
      await host.evaluate((chat, given) => /** @type {any} */ (chat).open(given), options);
      await box.waitFor();
    },
    /** Asks as a reader does, and waits until the turn is there. @param {string} question */
    async ask(question) {
      const count = await turns.count();
      await box.fill(question);
      await box.press("Enter");
      await turns.nth(count).waitFor({ state: "attached" });
    },
    /** Waits until the last turn has one of these states. @param {...string} states */
    async waitForState(...states) {
      const wanted = states.map((state) => `.state[data-state="${state}"]`).join(", ");
      await turns.last().locator(wanted).waitFor({ state: "attached" });
    },
    /** Returns the text of the last turn's state, without the buttons there. */
    readState: () =>
      turns
        .last()
        .locator(".state")
        .evaluate((state) => {
          const copy = /** @type {Element} */ (state.cloneNode(true));
          for (const button of copy.querySelectorAll("button")) button.remove();
          return copy.textContent?.trim() ?? "";
        }),
    /** Waits until the last turn is over, and returns its state. */
    async waitForEnd() {
      await this.waitForState(...FINAL_STATES);
      return turns.last().locator(".state").getAttribute("data-state");
    },
  };
}

/**
 * Records the details of the widget's events in the page, for {@link readEvents}.
 * @param {import("playwright-core").Page} page
 */
export const recordEvents = (page) =>
  page.addInitScript(() => {
    const recorded = /** @type {any} */ (window.recordedEvents = /** @type {any[]} */ ([]));
    for (const name of ["ask", "answer", "error", "navigate"])
      document.addEventListener(`docent:${name}`, (event) =>
        recorded.push({
          name,
          ...JSON.parse(JSON.stringify(/** @type {CustomEvent} */ (event).detail)),
        }),
      );
  });

/**
 * Returns the details of the widget's events of this name so far.
 * @param {import("playwright-core").Page} page @param {string} name
 */
export const readEvents = (page, name) =>
  page.evaluate(
    (wanted) =>
      /** @type {any} */ (window).recordedEvents.filter(
        (/** @type {any} */ e) => e.name === wanted,
      ),
    name,
  );
