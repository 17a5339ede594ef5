/** The chat: a dialog, or a part of the page. */

import { ask, clip, historyOf } from "./chat.js";
import { inline } from "./inline.js";
import "./markdown.js"; // Fetched beside turn.js, not after it.
import { STYLES } from "./styles.js";
import { button, make, nameOf, TurnView } from "./turn.js";
import { WORDS } from "./words.js";

const MAX_QUERY_CHARS = 4000;
const MAX_KEPT_CHARS = 500_000;

/** How a passage is shown: without links. @type {MarkdownHooks} */
const PLAIN = { link: () => null, citation: () => null, code: () => "" };

/** @param {string} name */
const meta = (name) =>
  document.querySelector(`meta[name=docusaurus_${name}]`)?.getAttribute("content") ?? undefined;

export class Panel {
  /** @type {Turn[]} */
  #turns = [];
  /** Ends the answer that is being written. @type {AbortController | null} */
  #current = null;
  #selection = "";
  /** What the preview stands by. @type {Element | null} */
  #near = null;
  /** @type {Element | null} */
  #tapped = null;
  #host;
  #words;
  #server;
  frame;
  #box;
  #send = make("button", { className: "send" });
  #intro = make("div", { className: "intro" });
  #quote = make("blockquote", { className: "quote" });
  #log = make("div", { className: "log", tabIndex: -1 });
  #preview = make("div", { className: "preview", dir: "auto" });
  #status = make("p", { className: "unseen", role: "status" });

  /** @param {DocentChat} host @param {ShadowRoot} root */
  constructor(host, root) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    root.adoptedStyleSheets.push(sheet);
    const words = (this.#words = { ...WORDS[host.language], ...host.words });
    const server = host.getAttribute("server") ?? new URL("..", import.meta.url);
    this.#server = new URL(server, location.href).href.replace(/\/?$/, "/");
    this.#host = host;
    const label = { placeholder: words.question, ariaLabel: words.question };
    this.#box = make("textarea", { ...label, rows: 1, maxLength: MAX_QUERY_CHARS });
    // Where the style sheet cannot make it as high as its text.
    this.#box.oninput = () => (this.#box.rows = Math.min(this.#box.value.split("\n").length, 8));
    const isInline = host.hasAttribute("inline");
    const close = button("×", () => this.close());
    Object.assign(close, { ariaLabel: words.close, hidden: isInline });
    const title = make("h2", {}, words.title);
    const onsubmit = (/** @type {Event} */ event) => this.#submit(event);
    const notice = make("small", {}, words.notice);
    this.frame = /** @type {HTMLDialogElement} */ (
      make(
        isInline ? "section" : "dialog",
        { className: "panel", ariaLabel: words.title, lang: host.language, dir: words.dir },
        make(
          "header",
          {},
          title,
          button(words.fresh, () => this.#restart()),
          close,
        ),
        this.#log,
        make("form", { onsubmit }, this.#quote, this.#box, this.#send, notice),
        this.#status,
        this.#preview,
      )
    );
    root.append(this.frame);
    this.frame.onclick = (event) => this.#onClick(event);
    for (const type of ["pointerover", "focusin", "pointerleave", "close"])
      this.frame.addEventListener(type, ({ target }) => this.#point(target));
    this.#log.onscroll = () => this.#point(this.#near);
    this.#point(null);
    this.#about("");
    this.#restore();
    this.#show();
  }

  get isOpen() {
    return this.frame.matches("dialog[open]");
  }

  /** @param {Opening} opening */
  open({ question, selection }) {
    if (question) this.#box.value = question;
    if (selection) this.#about(selection);
    if (this.frame.showModal && !this.isOpen) {
      this.frame.showModal();
      if (!this.#log.scrollTop) this.#toLast();
    }
    this.#box.focus();
  }

  close() {
    if (this.isOpen) this.frame.close();
  }

  /** The page goes, and no answer goes on without it. */
  leave() {
    if (!this.#current) return;
    this.#current.abort("left");
    this.#keep();
  }

  /** @param {string} question */
  async ask(question, selection = "") {
    const query = clip(question.trim(), MAX_QUERY_CHARS);
    if (this.#current || !query) return;
    const stop = (this.#current = new AbortController());
    const { origin, pathname, hash } = location; // without the query string, which may hold what is nobody's business
    const request = {
      query,
      history: historyOf(this.#turns),
      page: {
        url: clip(origin + pathname + hash, 2000),
        title: clip(document.title, 300),
        selection: clip(selection, 4000) || undefined,
      },
      filter: this.#host.json("filter") ?? { version: meta("version"), language: meta("locale") },
    };
    const turn = { query, selection, text: "", sources: [], ending: {} };
    const view = this.#place(turn);
    this.#about("");
    this.#show();
    this.#status.textContent = this.#words.writing;
    this.#toLast();
    this.#emit("ask", { query, request });
    const ending = await ask(this.#host.fetch, `${this.#server}chat`, request, stop.signal, view);
    if (this.#current !== stop) return; // a new conversation has begun
    if (stop.signal.reason === "left") ending.state = "cut";
    const said = await this.#end(turn, view, ending).catch(() => "");
    if (this.#current !== stop) return;
    this.#current = null;
    this.#status.textContent = ending.done ? `${this.#words.finished} ${said}` : said;
    this.#keep();
    this.#show();
    const { text, sources } = turn;
    if (ending.problem) this.#emit("error", { query, problem: ending.problem });
    else this.#emit("answer", { query, text, sources, stopped: !ending.done, ...ending.done });
  }

  /** @param {Turn} turn */
  #place(turn) {
    const view = new TurnView(turn, this.#words);
    this.#turns.push(turn);
    this.#log.append(view.root);
    return view;
  }

  /** @param {Turn} turn @param {TurnView} view @param {Ending} ending */
  #end(turn, view, ending) {
    return view.end(ending, () => {
      if (this.#current) return;
      this.#turns = this.#turns.filter((other) => other !== turn);
      view.root.remove();
      this.#log.focus();
      void this.ask(turn.query, turn.selection);
    });
  }

  /** Shows what there is to do now. */
  #show() {
    const { send, stop, suggestions } = this.#words;
    const first = (this.#host.getAttribute("suggestions") ?? "")
      .split("|")
      .filter((text) => text.trim());
    this.#send.textContent = this.#current ? stop : send;
    this.#intro.replaceChildren(first.length ? suggestions : "");
    const asks = (/** @type {string} */ text) => () => {
      this.#log.focus();
      void this.ask(text);
    };
    this.#intro.append(...first.map((text) => button(text, asks(text))));
    if (!this.#turns.length) this.#log.replaceChildren(this.#intro);
    else this.#intro.remove();
  }

  /** The newest question comes to the top. */
  #toLast() {
    const top = this.#log.lastElementChild?.getBoundingClientRect().top ?? 0;
    this.#log.scrollTop += top - this.#log.getBoundingClientRect().top;
  }

  /** What the next question is about. @param {string} selection */
  #about(selection) {
    const drop = button("×", () => [this.#about(""), this.#box.focus()]);
    drop.ariaLabel = this.#words.unquote;
    this.#selection = selection;
    this.#quote.hidden = !selection;
    this.#quote.replaceChildren(make("span", { dir: "auto" }, selection), drop);
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    if (this.#current) return this.#current.abort();
    void this.ask(this.#box.value, this.#selection);
    this.#box.value = "";
  }

  #restart() {
    this.#current?.abort();
    this.#current = null;
    this.#turns = [];
    this.#status.textContent = "";
    this.#keep();
    this.#show();
    this.#box.focus();
  }

  get #key() {
    return `docent ${this.#server}`;
  }

  #keep() {
    const turns = [...this.#turns];
    let kept = JSON.stringify(turns);
    while (kept.length > MAX_KEPT_CHARS && turns.shift()) kept = JSON.stringify(turns);
    try {
      sessionStorage.setItem(this.#key, kept);
    } catch {
      // Then the conversation lasts as long as its page.
    }
  }

  #restore() {
    try {
      for (const kept of JSON.parse(sessionStorage.getItem(this.#key) ?? "[]")) {
        const turn = { ...kept, text: "" };
        const view = this.#place(turn);
        view.sources(kept.sources);
        view.write(kept.text);
        const { done, problem, state = "cut" } = kept.ending;
        this.#end(turn, view, { done, problem, state }).catch(() => view.root.remove());
      }
    } catch {
      this.#turns = []; // It is not what we kept.
    }
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const [target] = event.composedPath();
    const { key, keyCode, shiftKey, isComposing } = event;
    const isWriting = isComposing || keyCode === 229; // as Safari has it where a composition ends
    if (key === "Enter" && target === this.#box && !shiftKey && !isWriting) {
      event.preventDefault();
      if (!this.#current) this.#submit(event);
    } else if (key === "Escape" && !this.#preview.hidden) {
      event.preventDefault();
      this.#point(null);
    } else if (key === "Tab" && this.isOpen) {
      const all = this.frame.querySelectorAll("a[href], button:enabled, textarea, [tabindex='0']");
      const order = /** @type {HTMLElement[]} */ (
        [...all].filter((node) => node.checkVisibility())
      );
      if (shiftKey) order.reverse();
      if (order[order.length - 1] !== target) return;
      event.preventDefault();
      order[0].focus();
    }
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const { target, altKey, ctrlKey, metaKey, shiftKey } = event;
    if (target === this.frame) return this.close(); // beside the dialog
    const anchor = target instanceof Element ? target.closest("a") : null;
    if (!anchor || altKey || ctrlKey || metaKey || shiftKey) return;
    const isTap = /** @type {PointerEvent} */ (event).pointerType === "touch";
    if (isTap && anchor.dataset.source && anchor !== this.#tapped) {
      this.#tapped = anchor; // A finger sees the passage first, and opens the page when it taps again.
      this.#point(anchor);
      return event.preventDefault();
    }
    if (anchor.target) return;
    event.preventDefault();
    this.close();
    if (this.#emit("navigate", { url: anchor.href })) location.assign(anchor.href);
  }

  /** Shows the passage that a citation or a source at hand stands for. @param {EventTarget | null} target */
  #point(target) {
    const [frame, preview] = [this.frame, this.#preview];
    const near = target instanceof Element ? target.closest("[data-source]") : null;
    if (target instanceof Node && preview.contains(target)) return;
    const at = [...this.#log.children].findIndex((turn) => turn.contains(near));
    const source = this.#turns[at]?.sources.find(
      ({ number }) => `${number}` === near?.getAttribute("data-source"),
    );
    this.#near = source ? near : null;
    preview.hidden = !source;
    if (!near || !source) return;
    preview.replaceChildren(
      make("b", {}, nameOf(source)),
      make("p", {}, ...inline(source.snippet, PLAIN, false)),
    );
    const [box, outer] = [near.getBoundingClientRect(), frame.getBoundingClientRect()];
    const { offsetHeight, offsetWidth, style } = preview;
    const isBelow = box.bottom + offsetHeight < outer.bottom;
    style.top = `${(isBelow ? box.bottom : box.top - offsetHeight) - outer.top}px`;
    style.left = `${Math.max(8, Math.min(box.left - outer.left, outer.width - offsetWidth - 8))}px`;
  }

  /** @param {string} name @param {object} detail */
  #emit(name, detail) {
    const init = { bubbles: true, cancelable: name === "navigate", composed: true, detail };
    return this.#host.dispatchEvent(new CustomEvent(`docent:${name}`, init));
  }
}
