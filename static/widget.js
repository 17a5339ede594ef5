// Defines <docent-chat>: its buttons, its shortcut and its colours. Fetches the chat itself (`widget/panel.js`)
// when a reader opens it. Runs as a classic script and as a module, so it imports nothing before that. The
// handbook describes the attributes, methods and events.
(() => {
  if (customElements.get("docent-chat")) return;
  const script = /** @type {HTMLScriptElement | null} */ (
    document.currentScript ?? document.querySelector('script[type=module][src*="/widget.js"]')
  );
  // A classic script of another origin has no address that an import could be relative to.
  const panelUrl = script ? new URL("widget/panel.js", script.src).href : "./widget/panel.js";
  const page = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const pageParsed = new Promise((resolve) => {
    if (document.readyState !== "loading") resolve(0);
    document.addEventListener("DOMContentLoaded", resolve);
  });
  const TEXT_FIELDS = "input, select, textarea, [contenteditable]";
  /**
   * Words that a page shows before a reader opens the chat. All others are in `widget/words.js`, which is
   * fetched with the chat: a page whose reader never asks must not load them. Both files have the same
   * languages.
   * @type {Record<string, Record<string, string>>}
   */
  const FIRST_WORDS = {
    en: { open: "Ask AI", about: "Ask about this", failed: "The chat could not be loaded." },
    de: { open: "KI fragen", about: "Dazu fragen", failed: "Der Chat war nicht zu laden." },
    ur: { open: "AI سے پوچھیں", about: "اس بارے میں پوچھیں", failed: "چیٹ لوڈ نہیں ہو سکی۔" },
  };
  /** Marks CSS, so that Prettier formats it and `static/build.rs` squeezes it. */
  const css = (/** @type {TemplateStringsArray} */ [text]) => text;
  const STYLES = css`
    :host {
      --ground: var(--ifm-background-surface-color, #fff);
      --ink: var(--ifm-font-color-base, #1c1e21);
      --muted: color-mix(in srgb, var(--ink) 75%, var(--ground));
      --line: color-mix(in srgb, var(--ink) 25%, var(--ground));
      --soft: color-mix(in srgb, var(--ink) 6%, var(--ground));
      /* The hue of the site, and a lightness that can be read. */
      --accent: oklch(from var(--ifm-color-primary, #0f6b64) min(l, 0.46) c h);
      color-scheme: light;
      font: var(--ifm-font-size-base, 1rem) / 1.55
        var(--ifm-font-family-base, system-ui, sans-serif);
    }
    :host([data-dark]) {
      --ground: var(--ifm-background-surface-color, #1d2124);
      --ink: var(--ifm-font-color-base, #e5e8ea);
      --accent: oklch(from var(--ifm-color-primary, #6fd0c5) max(l, 0.8) c h);
      color-scheme: dark;
    }
    @supports not (color: oklch(from red l c h)) {
      :host {
        --accent: var(--ink) !important;
      }
    }
    :host([inline]) {
      display: block;
      height: 36rem;
    }
    [hidden] {
      display: none !important;
    }
    .bubble {
      padding: 0.3em 1em;
      border: 1px solid var(--line);
      border-radius: 2em;
      background: var(--ground);
      color: var(--ink);
      font: inherit;
      cursor: pointer;
    }
    .floating,
    .about,
    .loading {
      position: fixed;
      z-index: 390;
      box-shadow: 0 2px 12px #0004;
    }
    .floating,
    .loading {
      inset-block-end: 1.25rem;
      inset-inline-end: 1.25rem;
      padding: 0.7em 1.2em;
    }
    .loading {
      inset-block-end: 4rem;
    }
    :focus-visible {
      outline: 3px solid var(--accent);
      outline-offset: 2px;
    }
    @media print {
      :host {
        display: none !important;
      }
    }
  `;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLES);

  /** Opens the chat of a page by button, key, link or selected text; loads it when a reader first opens it. */
  class DocentChat extends HTMLElement {
    #root = this.attachShadow({ mode: "open" });
    #opener = this.#createBubble("button", "", () => this.open());
    #selectionButton = this.#createBubble("button", "about", () =>
      this.open({ selection: this.#selection }),
    );
    #loadStatus = this.#createBubble("p", "loading", () => {});
    #navbarButton = document.createElement("button");
    #selection = "";
    /** Removes all listeners from the page when the element leaves the page. */
    #listenersAbort = new AbortController();
    /** @type {Promise<Panel> | undefined} */
    #panelLoading;
    /** @type {Panel | undefined} */
    #panel;
    /** True while a key that was pressed in the chat is down. */
    #isChatKey = false;
    /** Sends the questions; a page may replace it. @type {typeof window.fetch} */
    fetch = (...request) => window.fetch(...request);

    constructor() {
      super();
      this.#root.adoptedStyleSheets = [sheet];
      this.#loadStatus.role = "alert";
    }

    /** @param {"button" | "p"} tag @param {string} kind @param {() => void} onclick */
    #createBubble(tag, kind, onclick) {
      const className = `bubble ${kind}`;
      const node = Object.assign(document.createElement(tag), { className, onclick, hidden: true });
      node.onpointerdown = (event) => event.preventDefault(); // which would end the selection
      this.#root.append(node);
      return node;
    }

    async connectedCallback() {
      await pageParsed;
      if (!this.isConnected) return;
      this.#listenersAbort.abort(); // An element that is moved has listeners already.
      const { signal } = (this.#listenersAbort = new AbortController());
      const hasOwnOpener = document.querySelector("[data-docent-open]");
      const usualKind = document.getElementById("__docusaurus") ? "navbar" : "floating";
      const isInline = this.hasAttribute("inline");
      const kind = isInline
        ? "none"
        : (this.getAttribute("button") ?? (hasOwnOpener ? "none" : usualKind));
      const { open, about } = this.words;
      this.#opener.className = `bubble opener ${kind}`;
      this.#opener.hidden = !/floating|inline/.test(kind);
      this.#opener.textContent = this.#navbarButton.textContent = open;
      this.#selectionButton.textContent = about;
      this.#addListeners(signal);
      const updateLooks = () => {
        this.toggleAttribute("data-dark", this.#isDark);
        if (kind === "navbar") this.#placeNavbarButton();
      };
      const observer = new MutationObserver(updateLooks);
      observer.observe(page, { attributes: true });
      if (kind === "navbar") observer.observe(document.body, { childList: true, subtree: true });
      systemDark.addEventListener("change", updateLooks, { signal });
      signal.onabort = () => observer.disconnect();
      updateLooks();
      if (isInline) void this.#loadPanel();
    }

    disconnectedCallback() {
      this.#listenersAbort.abort();
      this.#navbarButton.remove();
      this.#panel?.leavePage();
      this.close();
    }

    /** @param {AbortSignal} signal */
    #addListeners(signal) {
      const hideSelectionButton = () => (this.#selectionButton.hidden = true);
      // Once the event is over, the selection has changed.
      const offerSelection = () => setTimeout(() => this.#offerSelection());
      for (const type of ["keydown", "keypress", "keyup"])
        addEventListener(type, (event) => this.#captureKey(event), { capture: true, signal });
      addEventListener("keydown", (event) => this.#onShortcut(event), { signal });
      addEventListener("click", (event) => this.#onClick(event), { signal });
      for (const type of ["pointerup", "keyup"]) addEventListener(type, offerSelection, { signal });
      document.addEventListener("selectionchange", hideSelectionButton, { signal });
      addEventListener("scroll", hideSelectionButton, { capture: true, signal });
      addEventListener("pagehide", () => this.#panel?.leavePage(), { signal });
    }

    /** Adds the button to a Docusaurus navbar once React has hydrated it, and after each new rendering. */
    #placeNavbarButton() {
      if (this.#navbarButton.isConnected || page.dataset.hasHydrated !== "true") return;
      Object.assign(this.#navbarButton, { type: "button", className: "clean-btn navbar__link" });
      this.#navbarButton.dataset.docentOpen = "";
      const { style } = this.#navbarButton;
      style.fontSize = style.lineHeight = "inherit";
      style.padding =
        "var(--ifm-navbar-item-padding-vertical) var(--ifm-navbar-item-padding-horizontal)";
      document.querySelector(".navbar__items--right")?.prepend(this.#navbarButton);
    }

    /** Names the language of the interface: that of the page if its words are shipped, else English. */
    get language() {
      const [tag] = (this.closest("[lang]")?.getAttribute("lang") ?? "").toLowerCase().split("-");
      return tag in FIRST_WORDS ? tag : "en";
    }

    /** Holds the first words of the language, and the page's own words over them. */
    get words() {
      return { ...FIRST_WORDS[this.language], ...this.readJson("words") };
    }

    get #isDark() {
      const pageTheme = page.dataset.theme ?? (page.classList.contains("dark") ? "dark" : "");
      const theme = this.getAttribute("theme") ?? pageTheme;
      return theme === "dark" || (theme !== "light" && systemDark.matches);
    }

    /** Reads an attribute that is a JSON object. @param {string} name @returns {Record<string, any> | null} */
    readJson(name) {
      const text = this.getAttribute(name);
      try {
        return text === null ? null : Object.assign({}, JSON.parse(text));
      } catch {
        console.error(`<docent-chat>: its attribute "${name}" is not JSON: ${text}`);
        return null;
      }
    }

    /** Fetches the chat, once; after a failure the next call tries again. */
    async #loadPanel() {
      const timer = setTimeout(() => this.#showLoadStatus("…"), 400);
      this.#showLoadStatus("");
      try {
        this.#panelLoading ??= import(panelUrl).then(({ Panel }) => new Panel(this, this.#root));
        this.#panel = await this.#panelLoading;
      } catch (error) {
        console.error("<docent-chat>:", error);
        this.#panelLoading = undefined;
        this.#showLoadStatus(this.words.failed);
        return null;
      } finally {
        clearTimeout(timer);
      }
      this.#showLoadStatus("");
      return this.#panel;
    }

    /** @param {string} text */
    #showLoadStatus(text) {
      this.#loadStatus.hidden = !text;
      this.#loadStatus.textContent = text;
    }

    /** @param {Opening} opening */
    async open(opening = {}) {
      this.#selectionButton.hidden = true;
      (await this.#loadPanel())?.open(opening);
    }

    close() {
      this.#panel?.close();
    }

    /** @param {string} question */
    async ask(question) {
      await this.open();
      await this.#panel?.ask(question);
    }

    /** Keeps keys that are pressed in the chat from the page's own listeners. @param {Event} event */
    #captureKey(event) {
      if (event.type === "keydown")
        this.#isChatKey = event.composedPath().some((node) => node === this.#panel?.frame);
      if (!this.#isChatKey) return;
      event.stopPropagation();
      if (event instanceof KeyboardEvent && event.type === "keydown" && !this.#onShortcut(event))
        this.#panel?.onKey(event);
    }

    /** Opens or closes the chat and returns true if the key is the shortcut. @param {KeyboardEvent} event */
    #onShortcut(event) {
      const { altKey, ctrlKey, defaultPrevented, key, metaKey, shiftKey } = event;
      const path = event.composedPath();
      const isTyping = path.some((node) => node instanceof Element && node.matches(TEXT_FIELDS));
      const keys = (this.getAttribute("shortcut") ?? "mod+i").toLowerCase().split("+");
      const isShortcut =
        key?.toLowerCase() === keys.pop() && // an autofill's event has no key
        (ctrlKey || metaKey) === keys.includes("mod") &&
        altKey === keys.includes("alt") &&
        shiftKey === keys.includes("shift");
      if (!isShortcut || defaultPrevented) return false;
      if (isTyping && !(path.includes(this.#root) && (ctrlKey || metaKey || altKey))) return false;
      event.preventDefault();
      if (this.#panel?.isOpen) this.close();
      else void this.open({ selection: readSelection() });
      return true;
    }

    /** Opens the chat where an element with `data-docent-open` is clicked. @param {Event} event */
    #onClick(event) {
      const [target] = event.composedPath();
      const opener = target instanceof Element && target.closest("[data-docent-open]");
      const question = opener && opener.getAttribute("data-docent-open");
      if (!opener || event.defaultPrevented) return;
      event.preventDefault(); // So that no link and no other chat on the page reacts to the click.
      void this.open({ question: question || "", selection: readSelection() });
    }

    /** Shows a button beside selected text that asks about it. */
    #offerSelection() {
      this.#selection = readSelection();
      if (!this.#selection || this.getAttribute("selection") === "off" || this.#panel?.isOpen)
        return;
      const box = /** @type {Selection} */ (getSelection()).getRangeAt(0).getBoundingClientRect();
      this.#selectionButton.hidden = false;
      const { offsetHeight, offsetWidth, style } = this.#selectionButton;
      style.left = `${Math.max(8, Math.min(box.right, innerWidth - 8) - offsetWidth)}px`;
      style.top = `${Math.max(8, Math.min(box.bottom, innerHeight - offsetHeight - 16) + 8)}px`;
    }
  }

  /** Returns the selected text of the main part of the page, clipped to the bound of a request. */
  function readSelection() {
    const selection = getSelection();
    const node = selection?.anchorNode;
    const element = node instanceof Element ? node : node?.parentElement;
    // To the page, a selection inside the chat begins in the parent of its element.
    const isInChat = element?.querySelector(":scope > docent-chat");
    const isInMain =
      element?.closest("main, article") &&
      !isInChat &&
      !document.activeElement?.matches(TEXT_FIELDS);
    return isInMain ? String(selection).trim().slice(0, 4000) : "";
  }

  customElements.define("docent-chat", DocentChat);
  void pageParsed.then(() => {
    if (document.querySelector("docent-chat")) return;
    const chat = document.createElement("docent-chat");
    for (const [name, value] of Object.entries(script?.dataset ?? {}))
      chat.setAttribute(name, value ?? "");
    document.body.append(chat);
  });
})();
