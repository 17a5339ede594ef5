// <docent-chat>: its buttons and its shortcut. What shows the chat is fetched when a reader opens it. Works as a classic
// script and as a module, so it imports nothing else. The handbook has the attributes, methods and events.
(() => {
  if (customElements.get("docent-chat")) return;
  const script = /** @type {HTMLScriptElement | null} */ (
    document.currentScript ?? document.querySelector('script[type=module][src*="/widget.js"]')
  );
  // A classic script of another origin has no address that an import could be relative to.
  const rest = script ? new URL("widget/panel.js", script.src).href : "./widget/panel.js";
  const page = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const parsed = new Promise((resolve) => {
    if (document.readyState !== "loading") resolve(0);
    document.addEventListener("DOMContentLoaded", resolve);
  });
  const TYPED = "input, select, textarea, [contenteditable]";
  /** @type {Record<string, Record<string, string>>} */
  const WORDS = {
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
    .told {
      position: fixed;
      z-index: 390;
      box-shadow: 0 2px 12px #0004;
    }
    .floating,
    .told {
      inset-block-end: 1.25rem;
      inset-inline-end: 1.25rem;
      padding: 0.7em 1.2em;
    }
    .told {
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

  class DocentChat extends HTMLElement {
    #root = this.attachShadow({ mode: "open" });
    #opener = this.#bubble("button", () => this.open());
    #about = this.#bubble("button", () => this.open({ selection: this.#selection }));
    #told = this.#bubble("p", () => {});
    #inNavbar = document.createElement("button");
    #selection = "";
    #left = new AbortController();
    /** @type {Promise<Panel> | undefined} */
    #loading;
    /** @type {Panel | undefined} */
    #panel;
    /** Whether the key that is down was pressed in the chat. */
    #isOurs = false;
    /** What asks the server. @type {typeof window.fetch} */
    fetch = (...request) => window.fetch(...request);

    constructor() {
      super();
      this.#root.adoptedStyleSheets = [sheet];
    }

    /** @param {"button" | "p"} tag @param {() => void} onclick */
    #bubble(tag, onclick) {
      const node = Object.assign(document.createElement(tag), { onclick, hidden: true });
      node.onpointerdown = (event) => event.preventDefault(); // which would end the selection
      this.#root.append(node);
      return node;
    }

    async connectedCallback() {
      await parsed;
      if (!this.isConnected) return;
      this.#left.abort(); // where it is moved
      const { signal } = (this.#left = new AbortController());
      const words = this.words;
      const others = document.querySelector("[data-docent-open]");
      const usual = document.getElementById("__docusaurus") ? "navbar" : "floating";
      const isInline = this.hasAttribute("inline");
      const kind = isInline ? "none" : (this.getAttribute("button") ?? (others ? "none" : usual));
      const place = () => kind === "navbar" && this.#placeInNavbar();
      const dress = () => this.toggleAttribute("data-dark", this.#isDark);
      const hide = () => (this.#about.hidden = true);
      const offer = () => setTimeout(() => this.#offer()); // once the selection has changed
      this.#opener.className = `bubble opener ${kind}`;
      this.#opener.hidden = !/floating|inline/.test(kind);
      this.#about.className = "bubble about";
      this.#told.className = "bubble told";
      this.#told.role = "alert";
      this.#opener.textContent = this.#inNavbar.textContent = words.open;
      this.#about.textContent = words.about;
      for (const type of ["keydown", "keypress", "keyup"])
        addEventListener(type, (event) => this.#keep(event), { capture: true, signal });
      addEventListener("keydown", (event) => this.#onShortcut(event), { signal });
      addEventListener("click", (event) => this.#onClick(event), { signal });
      for (const type of ["pointerup", "keyup"]) addEventListener(type, offer, { signal });
      document.addEventListener("selectionchange", hide, { signal });
      addEventListener("scroll", hide, { capture: true, signal });
      addEventListener("pagehide", () => this.#panel?.leave(), { signal });
      system.addEventListener("change", dress, { signal });
      const watch = new MutationObserver(() => [dress(), place()]);
      watch.observe(page, { attributes: true });
      if (kind === "navbar") watch.observe(document.body, { childList: true, subtree: true });
      signal.onabort = () => watch.disconnect();
      dress();
      place();
      if (isInline) void this.#load();
    }

    disconnectedCallback() {
      this.#left.abort();
      this.#inNavbar.remove();
      this.#panel?.leave();
      this.close();
    }

    /** Docusaurus makes its navbar anew on some pages, and must not find a stranger's node when it hydrates. */
    #placeInNavbar() {
      if (this.#inNavbar.isConnected || page.dataset.hasHydrated !== "true") return;
      Object.assign(this.#inNavbar, { type: "button", className: "clean-btn navbar__link" });
      this.#inNavbar.dataset.docentOpen = "";
      const { style } = this.#inNavbar;
      style.fontSize = style.lineHeight = "inherit";
      style.padding =
        "var(--ifm-navbar-item-padding-vertical) var(--ifm-navbar-item-padding-horizontal)";
      document.querySelector(".navbar__items--right")?.prepend(this.#inNavbar);
    }

    /** Which of the shipped languages the interface is in. */
    get language() {
      const [tag] = (this.closest("[lang]")?.getAttribute("lang") ?? "").toLowerCase().split("-");
      return tag in WORDS ? tag : "en";
    }

    get words() {
      return { ...WORDS[this.language], ...this.json("words") };
    }

    get #isDark() {
      const ofPage = page.dataset.theme ?? (page.classList.contains("dark") ? "dark" : "");
      const theme = this.getAttribute("theme") ?? ofPage;
      return theme === "dark" || (theme !== "light" && system.matches);
    }

    /** An attribute that is a JSON object. @param {string} name @returns {Record<string, any> | null} */
    json(name) {
      const text = this.getAttribute(name);
      try {
        return text === null ? null : Object.assign({}, JSON.parse(text));
      } catch {
        console.error(`<docent-chat>: its attribute "${name}" is not JSON: ${text}`);
        return null;
      }
    }

    async #load() {
      const wait = setTimeout(() => this.#say("…"), 400);
      this.#say("");
      try {
        this.#loading ??= import(rest).then(({ Panel }) => new Panel(this, this.#root));
        this.#panel = await this.#loading;
      } catch (error) {
        console.error("<docent-chat>:", error);
        this.#loading = undefined;
        this.#say(this.words.failed);
        return null;
      } finally {
        clearTimeout(wait);
      }
      this.#say("");
      return this.#panel;
    }

    /** @param {string} text */
    #say(text) {
      this.#told.hidden = !text;
      this.#told.textContent = text;
    }

    /** @param {Opening} opening */
    async open(opening = {}) {
      this.#about.hidden = true;
      (await this.#load())?.open(opening);
    }

    close() {
      this.#panel?.close();
    }

    /** @param {string} question */
    async ask(question) {
      await this.open();
      await this.#panel?.ask(question);
    }

    /** The page has no part in keys that are meant for the chat. @param {Event} event */
    #keep(event) {
      if (event.type === "keydown")
        this.#isOurs = event.composedPath().some((node) => node === this.#panel?.frame);
      if (!this.#isOurs) return;
      event.stopPropagation();
      if (event instanceof KeyboardEvent && event.type === "keydown" && !this.#onShortcut(event))
        this.#panel?.onKey(event);
    }

    /** @param {KeyboardEvent} event */
    #onShortcut(event) {
      const { altKey, ctrlKey, defaultPrevented, key, metaKey, shiftKey } = event;
      const path = event.composedPath();
      const isTyping = path.some((node) => node instanceof Element && node.matches(TYPED));
      const keys = (this.getAttribute("shortcut") ?? "mod+i").toLowerCase().split("+");
      const isMeant =
        key?.toLowerCase() === keys.pop() && // an autofill's event has no key
        (ctrlKey || metaKey) === keys.includes("mod") &&
        altKey === keys.includes("alt") &&
        shiftKey === keys.includes("shift");
      if (!isMeant || defaultPrevented) return false;
      if (isTyping && !(path.includes(this.#root) && (ctrlKey || metaKey || altKey))) return false;
      event.preventDefault();
      if (this.#panel?.isOpen) this.close();
      else void this.open({ selection: selected() });
      return true;
    }

    /** @param {Event} event */
    #onClick(event) {
      const [target] = event.composedPath();
      const opener = target instanceof Element && target.closest("[data-docent-open]");
      const question = opener && opener.getAttribute("data-docent-open");
      if (!opener || event.defaultPrevented) return;
      event.preventDefault(); // neither a link nor another chat
      void this.open({ question: question || "", selection: selected() });
    }

    /** To ask about what the reader has selected. */
    #offer() {
      this.#selection = selected();
      if (!this.#selection || this.getAttribute("selection") === "off" || this.#panel?.isOpen)
        return;
      const box = /** @type {Selection} */ (getSelection()).getRangeAt(0).getBoundingClientRect();
      this.#about.hidden = false;
      const { offsetHeight, offsetWidth, style } = this.#about;
      style.left = `${Math.max(8, Math.min(box.right, innerWidth - 8) - offsetWidth)}px`;
      style.top = `${Math.max(8, Math.min(box.bottom, innerHeight - offsetHeight - 16) + 8)}px`;
    }
  }

  /** The text that is selected in the main part of the page. */
  function selected() {
    const selection = getSelection();
    const node = selection?.anchorNode;
    const near = node instanceof Element ? node : node?.parentElement;
    const isOurs = near?.querySelector(":scope > docent-chat"); // what is selected in it seems to be here
    const isMeant =
      near?.closest("main, article") && !isOurs && !document.activeElement?.matches(TYPED);
    return isMeant ? String(selection).trim().slice(0, 4000) : "";
  }

  customElements.define("docent-chat", DocentChat);
  void parsed.then(() => {
    if (document.querySelector("docent-chat")) return;
    const chat = document.createElement("docent-chat");
    for (const [name, value] of Object.entries(script?.dataset ?? {}))
      chat.setAttribute(name, value ?? "");
    document.body.append(chat);
  });
})();
