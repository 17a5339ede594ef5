// Answers questions in place of Docent, with events that the real one would never send.

/** Example of a source; tests vary it. */
export const SOURCE = {
  number: 1,
  title: "A title",
  section: /** @type {string | null} */ (null),
  url: "/docs/somewhere#heading",
  snippet: "A passage.",
  score: 1,
};

/** Example of the last event of a good answer; tests vary it. */
export const DONE = {
  status: "answered",
  cited: [1],
  finish_reason: "stop",
  model: "m",
  usage: null,
  timings: { embed_ms: 1, retrieve_ms: 1, first_token_ms: 1, total_ms: 1 },
  request_id: "r",
};

/**
 * Answers the page's next questions with these events, as one body.
 *
 * @param {import("playwright-core").Page} page
 * @param {[string, object][]} events
 */
export async function scriptEvents(page, events) {
  const body = events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const headers = { "content-type": "text/event-stream", "access-control-allow-origin": "*" };
  await page.unroute("**/chat");
  await page.route("**/chat", (route) => route.fulfill({ headers, body: body.join("") }));
}
