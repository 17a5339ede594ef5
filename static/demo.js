/**
 * Runs the inspector of the demo page, which stands between the widget and the server and shows each request
 * and its response.
 *
 * Everything from the server is shown as text.
 *
 * @typedef {{ embed_ms: number, retrieve_ms: number, first_token_ms: number | null, total_ms: number }} Timings
 * @typedef {{ prompt_tokens: number, completion_tokens: number }} Usage
 *
 * @typedef {object} Summary
 * @property {Timings} [timings]
 * @property {string | null} [model]
 * @property {Usage | null} [usage]
 * @property {string} [status]
 * @property {string} [finish_reason]
 * @property {string} [request_id]
 */

import { SseParser } from "./widget/chat.js";
import { createElement, nameSource } from "./widget/turn.js";

/** Most rows of events; further events are counted only. */
const MAX_ROWS = 500;
/** Longest data of an event, in characters; longer data is folded. */
const MAX_DATA_CHARS = 120;
const OFFLINE = "Offline demo: no model is asked. The answers quote the documentation.";
const NOT_READY = "The server says that it cannot answer right now.";

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function findElement(id, kind) {
  const node = document.getElementById(id);
  if (!(node instanceof kind)) throw new Error(`no ${kind.name} #${id}`);
  return node;
}

const view = {
  accept: findElement("accept", HTMLSelectElement),
  topK: findElement("top_k", HTMLInputElement),
  filter: findElement("filter", HTMLInputElement),
  wrong: findElement("wrong", HTMLElement),
  idle: findElement("idle", HTMLElement),
  exchange: findElement("exchange", HTMLElement),
  bar: findElement("bar", HTMLElement),
  facts: findElement("facts", HTMLElement),
  sources: findElement("sources", HTMLElement),
  sourceCount: findElement("source-count", HTMLElement),
  events: findElement("events", HTMLElement),
  eventCount: findElement("event-count", HTMLElement),
  request: findElement("request", HTMLElement),
  response: findElement("response", HTMLElement),
  status: findElement("status", HTMLElement),
  curl: findElement("curl", HTMLTextAreaElement),
};

/** @param {number} ms */
const formatMs = (ms) => ms.toFixed(ms < 10 ? 1 : 0);

/**
 * Parses the filter that was typed, or returns the fault as a sentence.
 * @returns {{ filter?: object, wrong?: string }}
 */
function parseFilter() {
  const text = view.filter.value.trim();
  if (!text) return {};
  try {
    const filter = JSON.parse(text);
    if (filter && typeof filter === "object" && !Array.isArray(filter)) return { filter };
  } catch {
    // The message below reports it.
  }
  return { wrong: 'filter must be a JSON object, such as {"version": "2.x"}; it was left out.' };
}

/** Adds the page's settings to the widget's request. @param {RequestInit} init */
function applySettings(init) {
  const { filter, wrong = "" } = parseFilter();
  const body = JSON.parse(String(init.body));
  if (filter) body.filter = filter;
  if (view.topK.value) body.top_k = Number(view.topK.value);
  view.wrong.textContent = wrong;
  const headers = { ...init.headers, accept: view.accept.value };
  return { init: { ...init, headers, body: JSON.stringify(body) }, headers, body };
}

/** @param {string} text */
const quoteForShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * Sends the widget's request to the server, and shows the request and the response.
 * @param {RequestInfo | URL} url @param {RequestInit} [given]
 */
async function fetchAndInspect(url, given = {}) {
  const { init, headers, body } = applySettings(given);
  const sent = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const flags = sent.map((header) => `-H ${quoteForShell(header)}`).join(" ");
  view.curl.value = `curl -sN ${quoteForShell(String(url))} ${flags} -d ${quoteForShell(init.body)}`;
  view.request.textContent = `POST ${url}\n${sent.join("\n")}\n\n${JSON.stringify(body, null, 2)}`;
  for (const node of [view.bar, view.facts, view.sources, view.events]) node.replaceChildren();
  for (const node of [view.response, view.status, view.sourceCount, view.eventCount])
    node.textContent = "";
  view.idle.hidden = true;
  view.exchange.hidden = false;
  const exchange = new Exchange();
  const response = await fetch(url, init);
  view.status.textContent = String(response.status);
  const received = [...response.headers].map(([name, value]) => `${name}: ${value}`);
  view.response.textContent = `${response.status} ${response.statusText}\n${received.join("\n")}`;
  if (!response.body) return response;
  const [forWidget, forInspector] = response.body.tee();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  void exchange
    .readBody(forInspector, isStream)
    .catch(() => exchange.appendRow("(ended)", "before its last event"));
  return new Response(forWidget, response);
}

/**
 * Creates the cell of an event's data; of long data it shows the beginning until it is opened.
 * @param {string} data
 */
function createDataCell(data) {
  if (data.length <= MAX_DATA_CHARS) return createElement("td", { className: "data" }, data);
  const summary = createElement("summary", {}, `${data.slice(0, MAX_DATA_CHARS)}…`);
  return createElement("td", { className: "data" }, createElement("details", {}, summary, data));
}

/** Shows one request and its response. */
class Exchange {
  #start = performance.now();
  #count = 0;

  /** @param {ReadableStream<Uint8Array>} body @param {boolean} isStream */
  async readBody(body, isStream) {
    const [parser, decoder, reader] = [new SseParser(), new TextDecoder(), body.getReader()];
    let text = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (isStream)
        for (const { type, data } of parser.parseBytes(read.value)) this.#showEvent(type, data);
      else text += decoder.decode(read.value, { stream: true });
    }
    if (!isStream) this.#showEvent("(body)", text);
  }

  /** @param {string} type @param {string} data */
  #showEvent(type, data) {
    this.appendRow(type, data);
    const value = JSON.parse(data);
    if (value.sources) showSources(value.sources);
    if (value.timings) showTimings(value);
  }

  /** @param {string} type @param {string} data */
  appendRow(type, data) {
    this.#count += 1;
    view.eventCount.textContent = String(this.#count);
    if (this.#count > MAX_ROWS) return;
    const at = createElement(
      "td",
      { className: "number" },
      formatMs(performance.now() - this.#start),
    );
    view.events.append(
      createElement("tr", {}, at, createElement("td", {}, type), createDataCell(data)),
    );
  }
}

/** @param {Source[]} sources */
function showSources(sources) {
  view.sourceCount.textContent = String(sources.length);
  const items = sources.map((source) => {
    const { number, url, snippet, score } = source;
    const name = createElement("b", {}, nameSource(source));
    const facts = createElement(
      "small",
      {},
      `score ${Number(score.toPrecision(4))} · ${url || "no address"}`,
    );
    const item = createElement(
      "li",
      {},
      name,
      " ",
      facts,
      createElement("p", { className: "snippet" }, snippet),
    );
    item.value = number;
    return item;
  });
  view.sources.replaceChildren(...items);
}

/** @param {Summary & { timings: Timings }} summary */
function showTimings({ timings, model, usage, status, finish_reason: finish, request_id: id }) {
  const {
    embed_ms: embed,
    retrieve_ms: retrieve,
    first_token_ms: first,
    total_ms: total,
  } = timings;
  const waiting = first === null ? 0 : Math.max(0, first - embed - retrieve);
  const stages = Object.entries({
    embed,
    retrieve,
    ...(first !== null && { "first token": waiting }),
    write: Math.max(0, total - embed - retrieve - waiting),
  });
  const parts = stages.map(([name, ms]) => {
    const part = createElement(
      "span",
      { className: name.replace(" ", "-") },
      `${name} ${formatMs(ms)} ms`,
    );
    part.style.flexGrow = String(ms / total);
    part.title = part.textContent ?? "";
    return part;
  });
  view.bar.replaceChildren(...parts);
  const facts = [`total ${formatMs(total)} ms`, status, finish, model ?? "no model"];
  if (usage) facts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  view.facts.textContent = [...facts, `request ${id}`].filter(Boolean).join(" · ");
}

/** Shows a banner if no model is asked, or if the server cannot answer. */
async function showReadiness() {
  const banner = findElement("banner", HTMLElement);
  const ready = await fetch("/ready")
    .then((response) => response.json())
    .catch(() => null);
  const isReady = ready?.status === "ready";
  banner.textContent = isReady ? OFFLINE : NOT_READY;
  banner.hidden = isReady && ready.gemini !== "offline";
}

const theme = findElement("theme", HTMLSelectElement);
theme.addEventListener("change", () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
});
view.filter.addEventListener("change", () => {
  view.wrong.textContent = parseFilter().wrong ?? "";
});
findElement("settings", HTMLFormElement).addEventListener("submit", (event) =>
  event.preventDefault(),
);
findElement("copy", HTMLButtonElement).addEventListener("click", async (event) => {
  view.curl.select();
  await navigator.clipboard.writeText(view.curl.value).catch(() => document.execCommand("copy"));
  if (event.target instanceof HTMLElement) event.target.textContent = "Copied";
});
// Citations open beside the page, so that the inspector stays.
document.addEventListener("docent:navigate", (event) => {
  event.preventDefault();
  if (event instanceof CustomEvent) open(event.detail.url, "_blank", "noopener");
});
void showReadiness();
await customElements.whenDefined("docent-chat");
Object.assign(document.querySelector("docent-chat") ?? {}, { fetch: fetchAndInspect });
