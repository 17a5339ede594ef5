/** A question, its sources and its answer on the page. */

import { MarkdownWriter } from "./markdown.js";

/** Of an answer that comes all at once, a frame shows as much, so that the page can go on in between. */
const MAX_FRAME_CHARS = 4000;

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {object} [props] @param {(Node | string)[]} children
 */
export function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

/** @param {string} text @param {() => void} onclick */
export const button = (text, onclick) => make("button", { type: "button", onclick }, text);

/** @param {Source} source */
export const nameOf = ({ title, section, url }) =>
  [title, section].filter(Boolean).join(" › ") || url;

/** A link to the web or to mail, and null for any other address. @param {string} href */
function link(href) {
  const node = make("a", { href });
  if (!href || !/^(https?|mailto):$/.test(node.protocol)) return null;
  return Object.assign(
    node,
    node.origin === location.origin ? {} : { target: "_blank", rel: "noopener" },
  );
}

/** What leads to a source, or where it has no address only shows it. @param {Source} source @param {string} className */
function cite(source, className) {
  const node = Object.assign(link(source.url) ?? button("", () => {}), { className });
  node.dataset.source = String(source.number);
  return node;
}

/** @implements {AnswerView} */
export class TurnView {
  root;
  #turn;
  #words;
  #answer = make("div", { className: "answer", dir: "auto" });
  #sources = make("div", { className: "sources" });
  #state = make("div", { className: "state" });
  #writer;
  #waiting = "";
  #frame = 0;

  /** @param {Turn} turn @param {Words} words */
  constructor(turn, words) {
    const { query, selection } = turn;
    this.#turn = turn;
    this.#words = words;
    const question = make("h3", { dir: "auto", className: "question" }, query);
    const about = make("blockquote", { dir: "auto", hidden: !selection }, selection);
    const parts = [question, about, this.#sources, this.#answer, this.#state];
    this.root = make("article", { className: "turn" }, ...parts);
    this.#writer = new MarkdownWriter(this.#answer, {
      link,
      citation: (number) => {
        const source = turn.sources.find((source) => source.number === number);
        const node = source && cite(source, "citation");
        if (!node) return null;
        Object.assign(node, {
          ariaLabel: `${number}: ${nameOf(source)}`,
          ariaDescription: source.snippet,
        });
        node.append(String(number));
        return node;
      },
      code: (language, text) => make("figcaption", {}, language, this.#copy(words.copyCode, text)),
    });
    this.#tell("searching", words.searching);
  }

  /** @param {string} state @param {(Node | string)[]} said */
  #tell(state, ...said) {
    this.#state.dataset.state = state;
    this.#state.replaceChildren(...said);
  }

  /** @param {string} label @param {() => string} text */
  #copy(label, text) {
    const node = button(label, async () => {
      try {
        await navigator.clipboard.writeText(text());
      } catch {
        const box = make("textarea", { value: text() }); // A page without TLS has no clipboard.
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
  sources(sources) {
    this.#turn.sources = sources;
    const items = sources.map((source) => {
      const node = cite(source, "source");
      node.append(make("b", {}, String(source.number)), nameOf(source));
      return make("li", {}, node);
    });
    if (items.length)
      this.#sources.append(make("h4", {}, this.#words.sources), make("ol", {}, ...items));
    this.#tell("writing", this.#words.writing);
  }

  /** @param {string} text */
  write(text) {
    this.#turn.text += text;
    this.#waiting += text;
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    this.#writer.write(this.#waiting.slice(0, MAX_FRAME_CHARS));
    this.#waiting = this.#waiting.slice(MAX_FRAME_CHARS);
    this.#frame = this.#waiting ? requestAnimationFrame(() => this.#flush()) : 0;
  }

  /** Shows how the answer ended, and says it. @param {Ending} ending @param {() => void} retry */
  async end(ending, retry) {
    const { done, problem, state = "error" } = (this.#turn.ending = ending);
    const { text, sources } = this.#turn;
    const words = this.#words;
    while (this.#waiting) {
      cancelAnimationFrame(this.#frame); // which a hidden tab does not have
      this.#flush();
      await new Promise((resolve) => setTimeout(resolve));
    }
    cancelAnimationFrame(this.#frame);
    this.#writer.end();
    let [shown, said] = [state, [words[state]]];
    if (done) {
      const { cited = [], finish_reason } = done;
      const finish = finish_reason === "stop" ? "" : finish_reason;
      shown = finish ? (words[finish] ? finish : "other") : done.status;
      said = [words[shown], finish && cited.length ? words[done.status] : ""];
      for (const [at, item] of this.#sources.querySelectorAll("li").entries())
        item.classList.toggle("cited", cited.includes(sources[at].number));
    } else if (problem) {
      const fields = (problem.errors ?? []).map(({ field, message }) => `${field}: ${message}.`);
      said = [problem.detail || words[problem.code], ...fields];
    }
    const sentence = said.filter(Boolean).join(" ");
    this.#tell(shown, ...(sentence ? [make("p", {}, sentence)] : []));
    const list = sources.map(
      (source) => `[${source.number}] ${nameOf(source)} ${link(source.url) ?? ""}`,
    );
    const whole = [text, "", ...list].join("\n");
    if (text) this.#state.append(this.#copy(words.copy, () => whole));
    if (!done && problem?.retryable !== false) this.#offer(retry, problem?.retry_after ?? 0);
    return sentence;
  }

  /** A button that waits as long as the server asked to. @param {() => void} retry @param {number} seconds */
  #offer(retry, seconds) {
    const node = this.#state.appendChild(button("", retry));
    const tick = (/** @type {number} */ left) => {
      node.disabled = left > 0;
      node.textContent = left > 0 ? this.#words.wait.replace("{n}", `${left}`) : this.#words.again;
      if (left > 0) setTimeout(() => tick(left - 1), 1000);
    };
    tick(Math.ceil(seconds));
  }
}
