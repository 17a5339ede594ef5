/** Shows a turn of the conversation: a question, its sources and its answer. */

import { MarkdownWriter } from "./markdown.js";

/** Most characters of an answer that one frame shows; the page stays responsive between the frames. */
const MAX_FRAME_CHARS = 4000;

/**
 * Creates an element with these properties and children.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {object} [props] @param {(Node | string)[]} children
 */
export function createElement(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

/** @param {string} text @param {() => void} onclick */
export const createButton = (text, onclick) =>
  createElement("button", { type: "button", onclick }, text);

/** Names a source by its page and section, or by its address. @param {Source} source */
export const nameSource = ({ title, section, url }) =>
  [title, section].filter(Boolean).join(" › ") || url;

/** Creates a link to a web or mail address; returns null for any other address. @param {string} href */
function createLink(href) {
  const node = createElement("a", { href });
  if (!href || !/^(https?|mailto):$/.test(node.protocol)) return null;
  if (node.origin !== location.origin) Object.assign(node, { target: "_blank", rel: "noopener" });
  return node;
}

/**
 * Creates a link to a source, or a button if the source has no address: the button only shows the passage.
 * @param {Source} source @param {string} className
 */
function createSourceLink(source, className) {
  const node = createLink(source.url) ?? createButton("", () => {});
  node.className = className;
  node.dataset.source = String(source.number);
  return node;
}

/** Holds the nodes of a turn and writes the answer into them. @implements {AnswerView} */
export class TurnView {
  root;
  #turn;
  #words;
  #answer = createElement("div", { className: "answer", dir: "auto" });
  #sources = createElement("div", { className: "sources" });
  #state = createElement("div", { className: "state" });
  #writer;
  #unwritten = "";
  #frame = 0;

  /** @param {Turn} turn @param {Words} words */
  constructor(turn, words) {
    const { query, selection } = turn;
    this.#turn = turn;
    this.#words = words;
    const question = createElement("h3", { dir: "auto", className: "question" }, query);
    const quote = createElement("blockquote", { dir: "auto", hidden: !selection }, selection);
    const parts = [question, quote, this.#sources, this.#answer, this.#state];
    this.root = createElement("article", { className: "turn" }, ...parts);
    this.#writer = new MarkdownWriter(this.#answer, {
      createLink,
      createCitation: (number) => {
        const source = turn.sources.find((source) => source.number === number);
        if (!source) return null;
        const node = createSourceLink(source, "citation");
        node.ariaLabel = `${number}: ${nameSource(source)}`;
        node.ariaDescription = source.snippet;
        node.append(String(number));
        return node;
      },
      createCaption: (language, readText) =>
        createElement("figcaption", {}, language, this.#createCopyButton(words.copyCode, readText)),
    });
    this.#showState("searching", words.searching);
  }

  /** @param {string} state @param {(Node | string)[]} children */
  #showState(state, ...children) {
    this.#state.dataset.state = state;
    this.#state.replaceChildren(...children);
  }

  /** @param {string} label @param {() => string} readText */
  #createCopyButton(label, readText) {
    const node = createButton(label, async () => {
      try {
        await navigator.clipboard.writeText(readText());
      } catch {
        const box = createElement("textarea", { value: readText() }); // A page without TLS has no clipboard.
        node.after(box);
        box.select();
        document.execCommand("copy");
        box.remove();
        node.focus();
      }
      node.textContent = this.#words.copied;
      setTimeout(() => (node.textContent = label), 2000);
    });
    return node;
  }

  /** @param {Source[]} sources */
  showSources(sources) {
    this.#turn.sources = sources;
    const items = sources.map((source) => {
      const node = createSourceLink(source, "source");
      node.append(createElement("b", {}, String(source.number)), nameSource(source));
      return createElement("li", {}, node);
    });
    if (items.length)
      this.#sources.append(
        createElement("h4", {}, this.#words.sources),
        createElement("ol", {}, ...items),
      );
    this.#showState("writing", this.#words.writing);
  }

  /** @param {string} text */
  appendText(text) {
    this.#turn.text += text;
    this.#unwritten += text;
    this.#frame ||= requestAnimationFrame(() => this.#writeFrame());
  }

  #writeFrame() {
    this.#writer.appendText(this.#unwritten.slice(0, MAX_FRAME_CHARS));
    this.#unwritten = this.#unwritten.slice(MAX_FRAME_CHARS);
    this.#frame = this.#unwritten ? requestAnimationFrame(() => this.#writeFrame()) : 0;
  }

  /**
   * Shows the ending of the answer, and returns the sentence about it.
   * @param {Ending} ending @param {() => void} retry Asks the question again.
   */
  async showEnding(ending, retry) {
    const { done, problem, state = "error" } = (this.#turn.ending = ending);
    const { text, sources } = this.#turn;
    const words = this.#words;
    while (this.#unwritten) {
      cancelAnimationFrame(this.#frame); // A hidden tab has no frames.
      this.#writeFrame();
      await new Promise((resolve) => setTimeout(resolve));
    }
    cancelAnimationFrame(this.#frame);
    this.#writer.finishText();
    let [shown, sentences] = [state, [words[state]]];
    if (done) {
      const { cited = [], finish_reason } = done;
      const finish = finish_reason === "stop" ? "" : finish_reason;
      shown = finish ? (words[finish] ? finish : "other") : done.status;
      sentences = [words[shown], finish && cited.length ? words[done.status] : ""];
      for (const [at, item] of this.#sources.querySelectorAll("li").entries())
        item.classList.toggle("cited", cited.includes(sources[at].number));
    } else if (problem) {
      const fields = (problem.errors ?? []).map(({ field, message }) => `${field}: ${message}.`);
      sentences = [problem.detail || words[problem.code], ...fields];
    }
    const sentence = sentences.filter(Boolean).join(" ");
    this.#showState(shown, ...(sentence ? [createElement("p", {}, sentence)] : []));
    const list = sources.map(
      (source) => `[${source.number}] ${nameSource(source)} ${createLink(source.url) ?? ""}`,
    );
    const whole = [text, "", ...list].join("\n");
    if (text) this.#state.append(this.#createCopyButton(words.copy, () => whole));
    if (!done && problem?.retryable !== false) this.#offerRetry(retry, problem?.retry_after ?? 0);
    return sentence;
  }

  /**
   * Adds a button that asks again, disabled for as long as the server asked to wait.
   * @param {() => void} retry @param {number} seconds
   */
  #offerRetry(retry, seconds) {
    const node = this.#state.appendChild(createButton("", retry));
    const countDown = (/** @type {number} */ left) => {
      node.disabled = left > 0;
      node.textContent = left > 0 ? this.#words.wait.replace("{n}", `${left}`) : this.#words.again;
      if (left > 0) setTimeout(() => countDown(left - 1), 1000);
    };
    countDown(Math.ceil(seconds));
  }
}
