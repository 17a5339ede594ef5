/**
 * The inspector of the demo page: puts itself between the widget and the server, and shows what passes.
 *
 * Whatever comes from the server becomes text.
 *
 * @typedef {{ embed_ms: number, retrieve_ms: number, first_token_ms: number | null, total_ms: number }} Timings
 * @typedef {{ timings?: Timings, model?: string | null, usage?: { prompt_tokens: number, completion_tokens: number } | null, status?: string, finish_reason?: string, request_id?: string }} Summary
 */

import { SseParser } from "./widget/chat.js";

const MAX_ROWS = 500; // of events; the rest is counted only
const MAX_SHOWN = 120; // characters of an event's data
const OFFLINE = "Offline demo: no model is asked. The answers quote the documentation.";
const NOT_READY = "The server says that it cannot answer right now.";

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function find(id, kind) {
  const node = document.getElementById(id);
  if (!(node instanceof kind)) throw new Error(`no ${kind.name} #${id}`);
  return node;
}

const view = {
  accept: find("accept", HTMLSelectElement),
  topK: find("top_k", HTMLInputElement),
  filter: find("filter", HTMLInputElement),
  wrong: find("wrong", HTMLElement),
  idle: find("idle", HTMLElement),
  exchange: find("exchange", HTMLElement),
  bar: find("bar", HTMLElement),
  facts: find("facts", HTMLElement),
  sources: find("sources", HTMLElement),
  sourceCount: find("source-count", HTMLElement),
  events: find("events", HTMLElement),
  eventCount: find("event-count", HTMLElement),
  request: find("request", HTMLElement),
  response: find("response", HTMLElement),
  status: find("status", HTMLElement),
  curl: find("curl", HTMLTextAreaElement),
};

/** @template {keyof HTMLElementTagNameMap} T @param {T} tag @param {string} className @param {(Node | string)[]} children */
function element(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/** @param {number} ms */
const shown = (ms) => ms.toFixed(ms < 10 ? 1 : 0);

/** The filter as it was typed, or what is wrong with it. @returns {{ filter?: object, wrong?: string }} */
function typedFilter() {
  const text = view.filter.value.trim();
  if (!text) return {};
  try {
    const filter = JSON.parse(text);
    if (filter && typeof filter === "object" && !Array.isArray(filter)) return { filter };
  } catch {
    // Told below.
  }
  return { wrong: 'filter must be a JSON object, such as {"version": "2.x"}; it was left out.' };
}

/** The widget's request, with what is set here. @param {RequestInit} init */
function withSettings(init) {
  const { filter, wrong = "" } = typedFilter();
  const body = JSON.parse(String(init.body));
  if (filter) body.filter = filter;
  if (view.topK.value) body.top_k = Number(view.topK.value);
  view.wrong.textContent = wrong;
  const headers = { ...init.headers, accept: view.accept.value };
  return { init: { ...init, headers, body: JSON.stringify(body) }, headers, body };
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Asks the server for the widget, and watches. @param {RequestInfo | URL} url @param {RequestInit} [given] */
async function watched(url, given = {}) {
  const { init, headers, body } = withSettings(given);
  const sent = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const flags = sent.map((header) => `-H ${quoted(header)}`).join(" ");
  view.curl.value = `curl -sN ${quoted(String(url))} ${flags} -d ${quoted(init.body)}`;
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
  const [forWidget, forUs] = response.body.tee();
  const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  void exchange.read(forUs, isStream).catch(() => exchange.row("(ended)", "before its last event"));
  return new Response(forWidget, response);
}

/** The data of an event; of long data, the beginning until it is opened. @param {string} data */
function cell(data) {
  if (data.length <= MAX_SHOWN) return element("td", "data", data);
  const summary = element("summary", "", `${data.slice(0, MAX_SHOWN)}…`);
  return element("td", "data", element("details", "", summary, data));
}

/** One request and what came of it. */
class Exchange {
  #start = performance.now();
  #count = 0;

  /** @param {ReadableStream<Uint8Array>} body @param {boolean} isStream */
  async read(body, isStream) {
    const [parser, decoder, reader] = [new SseParser(), new TextDecoder(), body.getReader()];
    let text = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (isStream) for (const { type, data } of parser.feed(read.value)) this.#event(type, data);
      else text += decoder.decode(read.value, { stream: true });
    }
    if (!isStream) this.#event("(body)", text);
  }

  /** @param {string} type @param {string} data */
  #event(type, data) {
    this.row(type, data);
    const value = JSON.parse(data);
    if (value.sources) showSources(value.sources);
    if (value.timings) showTimings(value);
  }

  /** @param {string} type @param {string} data */
  row(type, data) {
    this.#count += 1;
    view.eventCount.textContent = String(this.#count);
    if (this.#count > MAX_ROWS) return;
    const at = element("td", "number", shown(performance.now() - this.#start));
    view.events.append(element("tr", "", at, element("td", "", type), cell(data)));
  }
}

/** @param {Source[]} sources */
function showSources(sources) {
  view.sourceCount.textContent = String(sources.length);
  const items = sources.map(({ number, title, section, url, snippet, score }) => {
    const name = element("b", "", section ? `${title} › ${section}` : title);
    const facts = element(
      "small",
      "",
      `score ${Number(score.toPrecision(4))} · ${url || "no address"}`,
    );
    const item = element("li", "", name, " ", facts, element("p", "snippet", snippet));
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
    const part = element("span", name.replace(" ", "-"), `${name} ${shown(ms)} ms`);
    part.style.flexGrow = String(ms / total);
    part.title = part.textContent ?? "";
    return part;
  });
  view.bar.replaceChildren(...parts);
  const facts = [`total ${shown(total)} ms`, status, finish, model ?? "no model"];
  if (usage) facts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  view.facts.textContent = [...facts, `request ${id}`].filter(Boolean).join(" · ");
}

/** Says so when no model is asked, and when the server cannot answer. */
async function showReadiness() {
  const banner = find("banner", HTMLElement);
  const ready = await fetch("/ready")
    .then((response) => response.json())
    .catch(() => null);
  const isReady = ready?.status === "ready";
  banner.textContent = isReady ? OFFLINE : NOT_READY;
  banner.hidden = isReady && ready.gemini !== "offline";
}

const theme = find("theme", HTMLSelectElement);
theme.addEventListener("change", () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
});
view.filter.addEventListener("change", () => {
  view.wrong.textContent = typedFilter().wrong ?? "";
});
find("settings", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
find("copy", HTMLButtonElement).addEventListener("click", async (event) => {
  view.curl.select();
  await navigator.clipboard.writeText(view.curl.value).catch(() => document.execCommand("copy"));
  if (event.target instanceof HTMLElement) event.target.textContent = "Copied";
});
// The page stays, whatever is opened from it.
document.addEventListener("docent:navigate", (event) => {
  event.preventDefault();
  if (event instanceof CustomEvent) open(event.detail.url, "_blank", "noopener");
});
void showReadiness();
await customElements.whenDefined("docent-chat");
Object.assign(document.querySelector("docent-chat") ?? {}, { fetch: watched });
