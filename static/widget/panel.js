/** Shows the chat: as a dialog, or as a part of the page. */

import { askServer, buildHistory, clipText } from "./chat.js";
import { renderInline } from "./inline.js";
import "./markdown.js"; // Imported here so that it is fetched together with turn.js, not after it.
import { STYLES } from "./styles.js";
import { createButton, createElement, nameSource, TurnView } from "./turn.js";
import { WORDS } from "./words.js";

/** Longest question, in characters; the box takes no more. */
const MAX_QUERY_CHARS = 4000;
/** Longest conversation that the tab stores, in characters of JSON; its oldest turns are left out. */
const MAX_STORED_CHARS = 500_000;

/** @param {string} name */
const readDocusaurusMeta = (name) =>
  document.querySelector(`meta[name=docusaurus_${name}]`)?.getAttribute("content") ?? undefined;

/** Holds the conversation, and the frame that shows it. */
export class Panel {
  /** @type {Turn[]} */
  #turns = [];
  /** Stops the answer that is being written. @type {AbortController | null} */
  #answerAbort = null;
  #selection = "";
  /** Citation or source beside which the preview stands. @type {Element | null} */
  #previewAnchor = null;
  /** @type {Element | null} */
  #tappedAnchor = null;
  #host;
  #words;
  #server;
  frame;
  #questionBox = createElement("textarea", { rows: 1, maxLength: MAX_QUERY_CHARS });
  #sendButton = createElement("button", { className: "send" });
  #intro = createElement("div", { className: "intro" });
  #quote = createElement("blockquote", { className: "quote" });
  #log = createElement("div", { className: "log", tabIndex: -1 });
  #preview = createElement("div", { className: "preview", dir: "auto", hidden: true });
  #status = createElement("p", { className: "unseen", role: "status" });

  /** @param {DocentChat} host @param {ShadowRoot} root */
  constructor(host, root) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    root.adoptedStyleSheets.push(sheet);
    this.#words = { ...WORDS[host.language], ...host.words };
    const server = host.getAttribute("server") ?? new URL("..", import.meta.url);
    this.#server = new URL(server, location.href).href.replace(/\/?$/, "/");
    this.#host = host;
    this.frame = this.#createFrame();
    root.append(this.frame);
    this.frame.onclick = (event) => this.#onClick(event);
    for (const type of ["pointerover", "focusin", "pointerleave", "close"])
      this.frame.addEventListener(type, ({ target }) => this.#previewSource(target));
    this.#log.onscroll = () => this.#previewSource(this.#previewAnchor);
    this.#quoteSelection("");
    this.#restoreConversation();
    this.#updateControls();
  }

  #createFrame() {
    const box = this.#questionBox;
    const words = this.#words;
    const { language } = this.#host;
    const isInline = this.#host.hasAttribute("inline");
    Object.assign(box, { placeholder: words.question, ariaLabel: words.question });
    // For browsers whose style sheet cannot make the box as high as its text (`field-sizing`).
    box.oninput = () => (box.rows = Math.min(box.value.split("\n").length, 8));
    const close = createButton("×", () => this.close());
    Object.assign(close, { ariaLabel: words.close, hidden: isInline });
    const restart = createButton(words.fresh, () => this.#restartConversation());
    const onsubmit = (/** @type {Event} */ event) => this.#submitQuestion(event);
    const notice = createElement("small", {}, words.notice);
    return /** @type {HTMLDialogElement} */ (
      createElement(
        isInline ? "section" : "dialog",
        { className: "panel", ariaLabel: words.title, lang: language, dir: words.dir },
        createElement("header", {}, createElement("h2", {}, words.title), restart, close),
        this.#log,
        createElement("form", { onsubmit }, this.#quote, box, this.#sendButton, notice),
        this.#status,
        this.#preview,
      )
    );
  }

  get isOpen() {
    return this.frame.matches("dialog[open]");
  }

  /** @param {Opening} opening */
  open({ question, selection }) {
    if (question) this.#questionBox.value = question;
    if (selection) this.#quoteSelection(selection);
    if (this.frame.showModal && !this.isOpen) {
      this.frame.showModal();
      if (!this.#log.scrollTop) this.#scrollToLastTurn();
    }
    this.#questionBox.focus();
  }

  close() {
    if (this.isOpen) this.frame.close();
  }

  /** Stops the answer that is being written, because the reader leaves the page, and saves its text so far. */
  leavePage() {
    if (!this.#answerAbort) return;
    this.#answerAbort.abort("left");
    this.#saveConversation();
  }

  /** @param {string} question */
  async ask(question, selection = "") {
    const query = clipText(question.trim(), MAX_QUERY_CHARS);
    if (this.#answerAbort || !query) return;
    const stop = (this.#answerAbort = new AbortController());
    const { origin, pathname, hash } = location; // without the query string, which may hold secrets
    const request = {
      query,
      history: buildHistory(this.#turns),
      page: {
        url: clipText(origin + pathname + hash, 2000),
        title: clipText(document.title, 300),
        selection: clipText(selection, 4000) || undefined,
      },
      filter: this.#host.readJson("filter") ?? {
        version: readDocusaurusMeta("version"),
        language: readDocusaurusMeta("locale"),
      },
    };
    const turn = { query, selection, text: "", sources: [], ending: {} };
    const view = this.#appendTurn(turn);
    this.#quoteSelection("");
    this.#updateControls();
    this.#status.textContent = this.#words.writing;
    this.#scrollToLastTurn();
    this.#emitEvent("ask", { query, request });
    const ending = await askServer(
      this.#host.fetch,
      `${this.#server}chat`,
      request,
      stop.signal,
      view,
    );
    if (this.#answerAbort !== stop) return; // A new conversation has begun.
    if (stop.signal.reason === "left") ending.state = "cut";
    const sentence = await this.#endTurn(turn, view, ending).catch(() => "");
    if (this.#answerAbort !== stop) return;
    this.#answerAbort = null;
    this.#status.textContent = ending.done ? `${this.#words.finished} ${sentence}` : sentence;
    this.#saveConversation();
    this.#updateControls();
    const { text, sources } = turn;
    if (ending.problem) this.#emitEvent("error", { query, problem: ending.problem });
    else this.#emitEvent("answer", { query, text, sources, stopped: !ending.done, ...ending.done });
  }

  /** @param {Turn} turn */
  #appendTurn(turn) {
    const view = new TurnView(turn, this.#words);
    this.#turns.push(turn);
    this.#log.append(view.root);
    return view;
  }

  /** @param {Turn} turn @param {TurnView} view @param {Ending} ending */
  #endTurn(turn, view, ending) {
    return view.showEnding(ending, () => {
      if (this.#answerAbort) return;
      this.#turns = this.#turns.filter((other) => other !== turn);
      view.root.remove();
      this.#log.focus();
      void this.ask(turn.query, turn.selection);
    });
  }

  /** Updates the button of the form and the suggestions to the state of the conversation. */
  #updateControls() {
    const { send, stop, suggestions } = this.#words;
    const suggested = (this.#host.getAttribute("suggestions") ?? "")
      .split("|")
      .filter((text) => text.trim());
    this.#sendButton.textContent = this.#answerAbort ? stop : send;
    this.#intro.replaceChildren(suggested.length ? suggestions : "");
    const askSuggestion = (/** @type {string} */ text) => () => {
      this.#log.focus();
      void this.ask(text);
    };
    this.#intro.append(...suggested.map((text) => createButton(text, askSuggestion(text))));
    if (!this.#turns.length) this.#log.replaceChildren(this.#intro);
    else this.#intro.remove();
  }

  /** Scrolls the newest question to the top. */
  #scrollToLastTurn() {
    const top = this.#log.lastElementChild?.getBoundingClientRect().top ?? 0;
    this.#log.scrollTop += top - this.#log.getBoundingClientRect().top;
  }

  /**
   * Quotes the text that the next question is about; an empty text removes the quote.
   * @param {string} selection
   */
  #quoteSelection(selection) {
    const removeButton = createButton("×", () => [
      this.#quoteSelection(""),
      this.#questionBox.focus(),
    ]);
    removeButton.ariaLabel = this.#words.unquote;
    this.#selection = selection;
    this.#quote.hidden = !selection;
    this.#quote.replaceChildren(createElement("span", { dir: "auto" }, selection), removeButton);
  }

  /** @param {Event} event */
  #submitQuestion(event) {
    event.preventDefault();
    if (this.#answerAbort) return this.#answerAbort.abort();
    void this.ask(this.#questionBox.value, this.#selection);
    this.#questionBox.value = "";
  }

  #restartConversation() {
    this.#answerAbort?.abort();
    this.#answerAbort = null;
    this.#turns = [];
    this.#status.textContent = "";
    this.#saveConversation();
    this.#updateControls();
    this.#questionBox.focus();
  }

  get #storageKey() {
    return `docent ${this.#server}`;
  }

  #saveConversation() {
    const turns = [...this.#turns];
    let kept = JSON.stringify(turns);
    while (kept.length > MAX_STORED_CHARS && turns.shift()) kept = JSON.stringify(turns);
    try {
      sessionStorage.setItem(this.#storageKey, kept);
    } catch {
      // Without storage the conversation lasts as long as its page.
    }
  }

  #restoreConversation() {
    try {
      for (const kept of JSON.parse(sessionStorage.getItem(this.#storageKey) ?? "[]")) {
        const turn = { ...kept, text: "" };
        const view = this.#appendTurn(turn);
        view.showSources(kept.sources);
        view.appendText(kept.text);
        const { done, problem, state = "cut" } = kept.ending;
        this.#endTurn(turn, view, { done, problem, state }).catch(() => view.root.remove());
      }
    } catch {
      this.#turns = []; // Another script has written there.
    }
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const [target] = event.composedPath();
    const { key, keyCode, shiftKey, isComposing } = event;
    const isWriting = isComposing || keyCode === 229; // Safari sends 229 where a composition ends.
    if (key === "Enter" && target === this.#questionBox && !shiftKey && !isWriting) {
      event.preventDefault();
      if (!this.#answerAbort) this.#submitQuestion(event);
    } else if (key === "Escape" && !this.#preview.hidden) {
      event.preventDefault();
      this.#previewSource(null);
    } else if (key === "Tab" && this.isOpen) {
      const focusable = this.frame.querySelectorAll(
        "a[href], button:enabled, textarea, [tabindex='0']",
      );
      const order = /** @type {HTMLElement[]} */ (
        [...focusable].filter((node) => node.checkVisibility())
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
    if (target === this.frame) return this.close(); // The click was beside the dialog.
    const anchor = target instanceof Element ? target.closest("a") : null;
    if (!anchor || altKey || ctrlKey || metaKey || shiftKey) return;
    const isTap = /** @type {PointerEvent} */ (event).pointerType === "touch";
    if (isTap && anchor.dataset.source && anchor !== this.#tappedAnchor) {
      this.#tappedAnchor = anchor; // A first tap shows the passage, a second one opens the page.
      this.#previewSource(anchor);
      return event.preventDefault();
    }
    if (anchor.target) return;
    event.preventDefault();
    this.close();
    if (this.#emitEvent("navigate", { url: anchor.href })) location.assign(anchor.href);
  }

  /**
   * Shows the passage of the citation or source that is pointed at, else hides the preview.
   * @param {EventTarget | null} target
   */
  #previewSource(target) {
    const [frame, preview] = [this.frame, this.#preview];
    const anchor = target instanceof Element ? target.closest("[data-source]") : null;
    if (target instanceof Node && preview.contains(target)) return;
    const at = [...this.#log.children].findIndex((turn) => turn.contains(anchor));
    const source = this.#turns[at]?.sources.find(
      ({ number }) => `${number}` === anchor?.getAttribute("data-source"),
    );
    this.#previewAnchor = source ? anchor : null;
    preview.hidden = !source;
    if (!anchor || !source) return;
    preview.replaceChildren(
      createElement("b", {}, nameSource(source)),
      createElement("p", {}, ...renderInline(source.snippet, null, false)),
    );
    const [box, outer] = [anchor.getBoundingClientRect(), frame.getBoundingClientRect()];
    const { offsetHeight, offsetWidth, style } = preview;
    const isBelow = box.bottom + offsetHeight < outer.bottom;
    style.top = `${(isBelow ? box.bottom : box.top - offsetHeight) - outer.top}px`;
    style.left = `${Math.max(8, Math.min(box.left - outer.left, outer.width - offsetWidth - 8))}px`;
  }

  /** @param {string} name @param {object} detail */
  #emitEvent(name, detail) {
    const init = { bubbles: true, cancelable: name === "navigate", composed: true, detail };
    return this.#host.dispatchEvent(new CustomEvent(`docent:${name}`, init));
  }
}
