/**
 * Docent's demo page: asks `POST /chat`, shows the sources as soon as they come and the answer as it is written.
 *
 * Whatever comes from the server becomes text nodes, never markup; links lead to http(s) or stay on this site.
 *
 * @typedef {{ number: number, title: string, section: string | null, url: string, snippet: string, score: number }} Source
 * @typedef {{ embed_ms: number, retrieve_ms: number, first_token_ms: number | null, total_ms: number }} Timings
 * @typedef {{ status: string, cited: number[], finish_reason: string, model: string | null, usage: { prompt_tokens: number, completion_tokens: number } | null, timings: Timings, request_id: string }} Summary
 * @typedef {{ detail: string, retryable: boolean, request_id?: string | null, retry_after?: number, errors?: { field: string, message: string }[] }} Problem
 * @typedef {{ done?: Summary, failed?: Problem }} Ending stopped by the reader, if neither
 * @typedef {{ role: 'user' | 'assistant', content: string }} Message
 */

import { readEvents } from "./sse.js";

const MAX_HISTORY_MESSAGES = 20;
const MAX_MESSAGE_CHARS = 8000;
const MAX_DEPTH = 8; // lists nested deeper are shown as text

/** @type {Record<string, string>} */
const STATUS = {
  answered: "Answered from the documentation.",
  uncited: "This answer cites no source: check it before you rely on it.",
  not_in_docs: "Not found in the documentation.",
  search_only: "A budget is spent: these are search results only.",
};
/** @type {Record<string, string>} */
const CUT_SHORT = {
  max_tokens: "The answer reached its length limit and ends early.",
  safety: "The model ended the answer for safety reasons.",
  recitation: "The model ended the answer because it was repeating a known text.",
  blocked: "The model declined to answer this.",
  other: "The model ended the answer early.",
};
const OFFLINE = "Offline demo: no model is asked. Answers quote the documentation.";
const BROKE_OFF = { detail: "The answer broke off.", retryable: true };
const UNREACHABLE = { detail: "The server could not be reached.", retryable: true };
const UNREADABLE = { detail: "The server's answer could not be read.", retryable: false };

const FENCE = /^ *(`{3,99}|~{3,99})[^`]*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const HEADING = /^ {0,3}#{1,6} +(.*)/;
const INTERRUPTS = /^ *$|^ *(`{3,99}|~{3,99})[^`]*$|^ {0,3}#{1,6} |^ *([-*+]|1[.)]) /;

/** Splits Markdown into the lines of its blocks, also while it is still being written. @param {string[]} lines */
export function splitBlocks(lines) {
  const blocks = [];
  for (let at = 0, start = 0; at < lines.length; start = at) {
    for (at += 1; at < lines.length && !endsBefore(lines, start, at);) at += 1;
    if (lines[start].trim()) blocks.push(lines.slice(start, at));
  }
  return blocks;
}

/** Whether the block that opens at `start` ends before `at`. @param {string[]} lines @param {number} start @param {number} at */
function endsBefore(lines, start, at) {
  const [first, previous, line] = [lines[start], lines[at - 1], lines[at]];
  const [item, other, close] = [ITEM.exec(first), ITEM.exec(line), closing(first)];
  if (close) return at > start + 1 && close.test(previous);
  if (!first.trim() || HEADING.test(first)) return true;
  if (!item) return INTERRUPTS.test(line);
  if (!line.trim() || line.search(/\S/) >= item[1].length + 2) return false;
  if (other) return other[2].at(-1) !== item[2].at(-1);
  return !previous.trim() || INTERRUPTS.test(line);
}

/** What closes the code that `first` opens, if it does. @param {string} first */
function closing(first) {
  const mark = FENCE.exec(first)?.[1];
  return mark ? new RegExp(`^ *${mark}${mark[0]}* *$`) : null;
}

/** @param {string} line @param {number} width */
const outdent = (line, width) => line.slice(Math.min(width, line.length - line.trimStart().length));

/** @param {string[]} lines @param {Source[]} sources @returns {HTMLElement} */
function renderBlock(lines, sources, depth = 0) {
  const [first] = lines;
  const heading = HEADING.exec(first);
  if (heading) return element("h3", "", ...inline(heading[1], sources));
  const close = closing(first);
  if (close) {
    const end = lines.length > 1 && close.test(lines[lines.length - 1]) ? -1 : lines.length;
    const code = lines.slice(1, end).map((line) => outdent(line, first.search(/\S/)));
    return element("pre", "", element("code", "", code.join("\n")));
  }
  const item = ITEM.exec(first);
  if (item && depth < MAX_DEPTH) return renderList(lines, item, sources, depth);
  return element("p", "", ...inline(lines.join("\n").trim(), sources));
}

/** @param {string[]} lines @param {RegExpExecArray} first @param {Source[]} sources @param {number} depth */
function renderList(lines, first, sources, depth) {
  const items = /** @type {string[][]} */ ([]);
  let width = 0;
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length < first[1].length + 2) {
      width = item[0].length;
      items.push([line.slice(width)]);
    } else items[items.length - 1].push(outdent(line, width));
  }
  const list = element(first[2].length > 1 ? "ol" : "ul", "");
  if (list instanceof HTMLOListElement) list.start = parseInt(first[2], 10);
  const render = (/** @type {string[]} */ block) => renderBlock(block, sources, depth + 1);
  list.append(...items.map((item) => element("li", "", ...splitBlocks(item).map(render))));
  return list;
}

/** @template {keyof HTMLElementTagNameMap} T @param {T} tag @param {string} className @param {(Node | string)[]} children */
function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

/** A link that keeps the page open; mere text where `url` is no web address. @param {string} url @param {string} text */
function link(url, text) {
  const attributes = { href: url, target: "_blank", rel: "noopener" };
  const anchor = Object.assign(element("a", "", text), attributes);
  return url && /^https?:$/.test(anchor.protocol) ? anchor : element("span", "", text);
}

/** Inline Markdown; the bounds keep bad input cheap. */
const INLINE = new RegExp(
  [
    /\\([!-/:-@[-`{-~])/u, // escape
    /(?<ticks>`+)([^]*?)(?:(?<!`)\k<ticks>(?!`)|$)/u, // code
    /\*\*(?=\S)([^]{1,999}?)(?<=\S)\*\*(?!\*)/u, // strong
    /\*(?=[^\s*])([^*]{1,999}?)(?<=\S)\*/u, // emphasis
    /(?<![\p{L}\p{N}_])_(?=[^\s_])([^_]{1,999}?)(?<=\S)_(?![\p{L}\p{N}_])/u, // emphasis
    /\[([^[\]]{1,500})\]\(([^\s()<>]{1,2000})\)/u, // link
    /\[(\d{1,3})\]/u, // citation
  ]
    .map((part) => part.source)
    .join("|"),
  "gu",
);

/** A backtick opens code until it closes or `text` ends, as the server reads it. @param {string} text @param {Source[]} sources */
function inline(text, sources) {
  const nodes = /** @type {(Node | string)[]} */ ([]);
  const pattern = new RegExp(INLINE);
  let end = 0;
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    const [whole, escaped, ticks, code, strong, star, underscore, label, url, cited] = match;
    nodes.push(text.slice(end, match.index));
    end = pattern.lastIndex;
    const emphasis = star ?? underscore;
    if (escaped) nodes.push(escaped);
    else if (ticks) nodes.push(element("code", "", code.trim() || code));
    else if (strong) nodes.push(element("strong", "", ...inline(strong, sources)));
    else if (emphasis) nodes.push(element("em", "", ...inline(emphasis, sources)));
    else if (url) nodes.push(link(url, label));
    else nodes.push(citation(whole, cited, sources));
  }
  return [...nodes, text.slice(end)];
}

/** @param {string} text @param {string} number @param {Source[]} sources */
function citation(text, number, sources) {
  const source = sources.find((source) => source.number === Number(number));
  if (!source) return text;
  return Object.assign(link(source.url, text), { className: "citation", title: source.title });
}

/** @param {Source} source */
function renderSource(source) {
  const name = source.section ? `${source.title} › ${source.section}` : source.title;
  const score = element("small", "", `score ${Number(source.score.toPrecision(3))}`);
  const item = element("li", "", link(source.url, name || source.url), " ", score);
  item.append(element("p", "snippet", source.snippet));
  item.value = source.number;
  return item;
}

/** One question with its sources and its answer, on the page. */
class TurnView {
  #sources = /** @type {Source[]} */ ([]);
  /** @type {string[]} What each block on the page was made from: only what has changed is made anew. */
  #shown = [];
  #scheduled = 0;
  #answer = element("div", "answer");
  #side = element("section", "sources");
  #state = element("div", "state", element("p", "waiting", "Searching the documentation…"));
  text = "";
  requestId = /** @type {string | null} */ (null);
  root;

  /** @param {string} question */
  constructor(question) {
    this.root = element("article", "turn", element("h2", "question", question));
    this.root.append(
      element("div", "columns", element("div", "", this.#answer, this.#state), this.#side),
    );
  }

  /** @param {Source[]} sources */
  showSources(sources) {
    this.#sources = sources;
    const list = element("ol", "", ...sources.map(renderSource));
    this.#side.replaceChildren(element("h3", "", "Sources"));
    this.#side.append(sources.length ? list : element("p", "", "No passage was found."));
    this.#state.replaceChildren(element("p", "waiting", "Writing the answer…"));
  }

  /** @param {string} text */
  append(text) {
    this.text += text;
    this.#scheduled ||= requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#scheduled = 0;
    const blocks = splitBlocks(this.text.split(/\r\n|\r|\n/));
    for (const [at, block] of blocks.entries()) {
      const key = block.join("\n");
      if (this.#shown[at] === key) continue;
      this.#shown[at] = key;
      const node = renderBlock(block, this.#sources);
      const old = this.#answer.children[at];
      if (old) old.replaceWith(node);
      else this.#answer.append(node);
    }
    while (this.#answer.children.length > blocks.length) this.#answer.lastElementChild?.remove();
    this.#shown.length = blocks.length;
  }

  /** Shows how the answer ended, and returns it in words. @param {Ending} ending @param {() => void} retry */
  end({ done, failed }, retry) {
    cancelAnimationFrame(this.#scheduled);
    this.#render();
    const reason = done?.finish_reason ?? "stop";
    const sentences = reason === "stop" ? [] : [CUT_SHORT[reason] ?? CUT_SHORT.other];
    if (!done) sentences.push(failed?.detail ?? "Stopped.");
    else if (reason === "stop" || done.cited.length)
      sentences.push(STATUS[done.status] ?? done.status);
    for (const { field, message } of failed?.errors ?? []) sentences.push(`${field}: ${message}.`);
    const facts = done ? summaryFacts(done) : [];
    const id = done?.request_id ?? failed?.request_id ?? this.requestId;
    if (id) facts.push(`request ${id}`);
    this.#state.replaceChildren(element("p", failed ? "problem" : "outcome", sentences.join(" ")));
    if (failed?.retryable) this.#state.append(retryButton(failed.retry_after ?? 0, retry));
    if (facts.length) this.#state.append(element("p", "facts", facts.join(" · ")));
    return sentences.join(" ");
  }
}

/** @param {Summary} summary */
function summaryFacts({ model, usage, timings }) {
  const ms = (/** @type {number} */ value) => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  const facts = [`embed ${ms(timings.embed_ms)}`, `retrieve ${ms(timings.retrieve_ms)}`];
  if (timings.first_token_ms !== null) facts.push(`first token ${ms(timings.first_token_ms)}`);
  facts.push(`total ${ms(timings.total_ms)}`, model === null ? "no model" : `model ${model}`);
  if (usage) facts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  return facts;
}

/** A button that waits as long as the server asked to. @param {number} seconds @param {() => void} retry */
function retryButton(seconds, retry) {
  const button = Object.assign(element("button", ""), { type: "button" });
  button.addEventListener("click", retry);
  const tick = (/** @type {number} */ left) => {
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(() => tick(left - 1), 1000);
  };
  tick(seconds);
  return button;
}

/** Without halves of characters, which no JSON reader takes. @param {string} text */
const clean = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");

/** The problem in a response that is no stream. @param {Response} response @returns {Promise<Problem>} */
async function readProblem(response) {
  const body = await response.json().catch(() => null);
  if (typeof body?.detail === "string") return body;
  if (response.ok) return UNREADABLE;
  return {
    detail: `The server answered with status ${response.status}.`,
    retryable: response.status === 429 || response.status >= 500,
    request_id: response.headers.get("x-request-id"),
    retry_after: Number(response.headers.get("retry-after")) || 0,
  };
}

/** @param {{ query: string, history: Message[] }} request @param {TurnView} view @param {AbortSignal} signal @returns {Promise<Ending>} */
async function stream(request, view, signal) {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const body = JSON.stringify(request);
  /** @type {Problem} */
  let problem = UNREACHABLE;
  try {
    const response = await fetch("/chat", { method: "POST", headers, body, signal });
    problem = BROKE_OFF;
    view.requestId = response.headers.get("x-request-id");
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    if (!response.ok || !isStream || !response.body) problem = await readProblem(response);
    else
      for await (const { type, data } of readEvents(response.body)) {
        if (type === "sources") view.showSources(JSON.parse(data).sources);
        else if (type === "token") view.append(JSON.parse(data).text);
        else if (type === "done") return { done: JSON.parse(data) };
        else if (type === "error") return { failed: JSON.parse(data) };
      }
  } catch (error) {
    if (error instanceof SyntaxError) problem = UNREADABLE;
  }
  return signal.aborted ? {} : { failed: problem };
}

function start() {
  const byId = (/** @type {string} */ id) =>
    /** @type {HTMLElement} */ (document.getElementById(id));
  const question = /** @type {HTMLTextAreaElement} */ (byId("question"));
  const [askButton, stopButton, newButton] = /** @type {HTMLButtonElement[]} */ (
    ["ask", "stop", "new"].map(byId)
  );
  const [conversation, announcement] = ["conversation", "announcement"].map(byId);
  /** @type {Message[]} */
  let history = [];
  /** @type {AbortController | null} The answer being written. */
  let current = null;

  const showState = () => {
    const focused = document.activeElement;
    askButton.disabled = current !== null;
    stopButton.disabled = current === null;
    newButton.disabled = conversation.childElementCount === 0;
    byId("examples").hidden = conversation.childElementCount > 0;
    if (current && focused !== question) stopButton.focus({ preventScroll: true });
    if (!current && focused === stopButton) askButton.focus({ preventScroll: true });
  };

  const ask = async (/** @type {string} */ text) => {
    const query = clean(text.trim());
    if (current || !query) return;
    const [controller, view] = [new AbortController(), new TurnView(query)];
    current = controller;
    conversation.append(view.root);
    showState();
    view.root.scrollIntoView();
    announcement.textContent = "Docent is answering.";
    const ending = await stream({ query, history }, view, controller.signal);
    if (current !== controller) return; // A new conversation has begun.
    current = null;
    showState();
    announcement.textContent = view.end(ending, () => {
      if (current) return;
      view.root.remove();
      void ask(query);
    });
    if (!ending.failed && view.text.trim()) {
      const said = [...clean(view.text)].slice(0, MAX_MESSAGE_CHARS).join("");
      history.push({ role: "user", content: query }, { role: "assistant", content: said });
      history = history.slice(-MAX_HISTORY_MESSAGES);
    }
  };

  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (current) return;
    void ask(question.value);
    question.value = "";
  });
  question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    question.form?.requestSubmit();
  });
  stopButton.addEventListener("click", () => current?.abort());
  newButton.addEventListener("click", () => {
    current?.abort();
    current = null;
    history = [];
    conversation.replaceChildren();
    announcement.textContent = "";
    question.focus();
    showState();
  });
  for (const button of document.querySelectorAll("#examples button"))
    button.addEventListener("click", () => void ask(button.textContent ?? ""));
  void showReadiness(byId("banner"));
}

/** Says so when no model is asked, and when the server cannot answer. @param {HTMLElement} banner */
async function showReadiness(banner) {
  const ready = await fetch("/ready")
    .then((response) => response.json())
    .catch(() => null);
  const isReady = ready?.status === "ready";
  banner.textContent = isReady ? OFFLINE : "The server says that it cannot answer right now.";
  banner.hidden = isReady && ready.gemini !== "offline";
}

if (typeof document !== "undefined") start();
