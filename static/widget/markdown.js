/**
 * Markdown as it is being written, made into nodes of the document, never from a string of HTML.
 *
 * It is read line by line, and what is done is not touched again. Of a line that is not whole yet, as much is shown as
 * cannot turn into something else. A language model's Markdown is read more freely than CommonMark has it: there is no
 * indented code, no HTML and no underlined heading, and two spaces are enough to nest a list.
 */

import { inline, morph } from "./inline.js";

/** Lists and quotes nested deeper are text. */
const MAX_DEPTH = 8;
/** Longer paragraphs and code are laid out in pieces, or each step would have to lay out the whole. */
const MAX_CHARS = 4000;
const MAX_ROWS = 100;

const FENCE = /^( *)(`{3,99}|~{3,99}) *([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: +|$)(.*)/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
/** The beginning of a line that may still turn into another block. */
const UNDECIDED =
  /^ *(?:[-*_][-*_ ]*|\+ *|\d{1,9}|\d{1,9}[.)] *|#{1,6} *|>|[`~]{1,2}|(?:`{3}|~{3}).*|\|.*)?$/;

const make = document.createElement.bind(document);

export class MarkdownWriter {
  /** @type {Container[]} From the answer to the innermost item or quote. */
  #stack;
  /** @type {Leaf} */
  #leaf = null;
  /** What has come of the current line and is in no leaf. */
  #line = "";
  /** Whether the leaf has the beginning of the current line. */
  #isBegun = false;
  #hooks;

  /** @param {HTMLElement} node @param {MarkdownHooks} hooks */
  constructor(node, hooks) {
    this.#stack = [{ node, indent: 0, list: null }];
    this.#hooks = hooks;
  }

  /** @param {string} text */
  write(text) {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) this.#take(line.replace(/\r$/, ""), true);
    if (this.#line && this.#take(this.#line, false)) this.#line = "";
    const leaf = this.#leaf;
    if (leaf && "isShown" in leaf && !leaf.isShown) this.#show(leaf, true);
  }

  /** There is no more to come. */
  end() {
    if (this.#line) this.#take(this.#line, true);
    this.#close(1);
  }

  /** Whether what there is of a line could be shown. @param {string} line @param {boolean} isWhole */
  #take(line, isWhole) {
    const leaf = this.#leaf;
    if (this.#isBegun) this.#add(leaf?.kind === "code" && isWhole ? `${line}\n` : line);
    else {
      const plan = this.#plan(line, isWhole);
      if (plan) this.#apply(plan);
      else if (line.length > MAX_CHARS) this.#add(line);
      else return false;
    }
    this.#isBegun = !isWhole;
    if (isWhole && this.#leaf?.kind === "heading") this.#closeLeaf();
    return true;
  }

  /** Where a line belongs, or null where that cannot be told yet. @param {string} line @param {boolean} isWhole @returns {Plan | null} */
  #plan(line, isWhole) {
    let [depth, text] = [1, line];
    for (; depth < this.#stack.length; depth += 1) {
      const { indent } = this.#stack[depth];
      const quote = QUOTE.exec(text);
      const width = text.search(/\S|$/);
      if (indent < 0 ? !quote : width < indent && width < text.length) break;
      text = text.slice(indent < 0 && quote ? quote[0].length : Math.min(indent, width));
    }
    const leaf = depth === this.#stack.length ? this.#leaf : null;
    if (leaf?.kind === "code") return isWhole ? { depth, opens: [], kind: "body", text } : null;
    const opens = /** @type {Plan["opens"]} */ ([]);
    for (;;) {
      if (!isWhole && (UNDECIDED.test(text) || leaf?.kind === "table")) return null;
      const item = RULE.test(text) ? null : ITEM.exec(text);
      const mark = item ?? QUOTE.exec(text);
      // Only a list that begins with 1 may break a paragraph in two: "in\n2024. Then".
      const isChance = item && !opens.length && leaf?.kind === "text" && /^(?!1\D)\d/.test(item[2]);
      if (!mark || isChance || depth + opens.length > MAX_DEPTH) break;
      opens.push(item);
      text = text.slice(mark[0].length);
    }
    const kind = kindOf(text, opens.length ? null : leaf, isWhole);
    const isLazy = kind === "text" && !opens.length && this.#leaf?.kind === "text";
    return { depth: isLazy ? this.#stack.length : depth, opens, kind, text };
  }

  /** @param {Plan} plan */
  #apply({ depth, opens, kind, text }) {
    if (depth < this.#stack.length || opens.length) this.#close(depth);
    for (const item of opens) this.#open(item);
    const leaf = this.#leaf;
    if (leaf?.kind === "code" && kind === "body") {
      if (leaf.close.test(text)) this.#closeLeaf();
      else this.#add(`${text.slice(Math.min(leaf.indent, text.search(/\S|$/)))}\n`);
    } else if (leaf?.kind === "table" && kind === "tableRow") this.#row(leaf, text);
    else if (kind === "table" && leaf && "raw" in leaf) {
      const lines = leaf.raw.split("\n");
      const head = lines.pop() ?? "";
      leaf.raw = lines.join("\n");
      if (lines.length) this.#closeLeaf();
      else if (leaf.kind === "text") leaf.node.remove();
      this.#openTable(head, text);
    } else if (kind === "text" && (leaf?.kind === "text" || leaf?.kind === "row")) {
      this.#add(`\n${text.trimStart()}`);
    } else {
      this.#closeLeaf();
      if (kind !== "blank") this.#openLeaf(kind, text);
    }
  }

  /** Ends what is open, down to `depth` containers. @param {number} depth */
  #close(depth) {
    this.#closeLeaf();
    this.#stack.length = Math.min(depth, this.#stack.length);
  }

  #closeLeaf() {
    if (this.#leaf?.kind === "row") this.#add("");
    if (this.#leaf && "isShown" in this.#leaf) this.#show(this.#leaf, false);
    this.#leaf = null;
  }

  get #top() {
    return this.#stack[this.#stack.length - 1];
  }

  /** @template {Node} T @param {T} node */
  #place(node) {
    this.#top.list = null;
    return this.#top.node.appendChild(node);
  }

  /** Opens a quote, or an item of the list at hand or of a new one. @param {RegExpExecArray | null} item */
  #open(item) {
    if (!item) {
      this.#stack.push({ node: this.#place(make("blockquote")), indent: -1, list: null });
      return;
    }
    const [, { length }, marker] = item;
    const mark = marker.slice(-1);
    let { list } = this.#top;
    if (list?.mark !== mark) {
      list = { node: this.#place(make(marker.length > 1 ? "ol" : "ul")), mark };
      if (list.node instanceof HTMLOListElement) list.node.start = parseInt(marker, 10);
      this.#top.list = list;
    }
    this.#stack.push({ node: list.node.appendChild(make("li")), indent: length + 2, list: null });
  }

  /** @param {Plan["kind"]} kind @param {string} text */
  #openLeaf(kind, text) {
    if (kind === "rule") this.#place(make("hr"));
    else if (kind === "row") this.#leaf = { kind, raw: text };
    else if (kind === "code") this.#openCode(/** @type {RegExpExecArray} */ (FENCE.exec(text)));
    else if (kind === "heading") {
      const [, marks, raw] = HEADING.exec(text) ?? ["", "", ""];
      const node = this.#place(make(`h${Math.min(3 + marks.length, 6)}`)); // below the question's
      this.#leaf = { kind, node, raw, isShown: false };
    } else this.#openText(text.trimStart());
  }

  /** @param {string} raw */
  #openText(raw) {
    return (this.#leaf = { kind: "text", node: this.#place(make("p")), raw, isShown: false });
  }

  /** More of the line, or of the block, that is in the leaf. @param {string} text */
  #add(text) {
    let leaf = this.#leaf;
    if (leaf?.kind === "code") {
      leaf.text += text;
      for (let at = 0; at < text.length; at += MAX_CHARS) {
        const part = text.slice(at, at + MAX_CHARS);
        leaf.room -= part.length;
        if (leaf.room < 0) {
          leaf.room = MAX_CHARS;
          leaf.piece = leaf.node.appendChild(make("code"));
        }
        leaf.piece.append(part);
      }
      return;
    }
    if (!leaf || !("isShown" in leaf)) leaf = this.#openText(leaf?.kind === "row" ? leaf.raw : "");
    leaf.raw += text;
    leaf.isShown = false;
    while (leaf.raw.length > 2 * MAX_CHARS) {
      const at = leaf.raw.lastIndexOf(" ", MAX_CHARS) + 1 || MAX_CHARS;
      const rest = leaf.raw.slice(at);
      leaf.raw = leaf.raw.slice(0, at);
      this.#show(leaf, false);
      leaf.node = this.#place(make(leaf.node.tagName));
      leaf.node.className = "continued";
      leaf.raw = rest;
    }
  }

  /** @param {TextLeaf} leaf @param {boolean} isGrowing */
  #show(leaf, isGrowing) {
    leaf.isShown = true;
    const raw = leaf.kind === "heading" ? leaf.raw.replace(/ +#* *$/, "") : leaf.raw;
    morph(leaf.node, inline(raw, this.#hooks, isGrowing));
  }

  /** @param {RegExpExecArray} fence */
  #openCode([, { length: indent }, marks, info]) {
    const [figure, node, piece] = [this.#place(make("figure")), make("pre"), make("code")];
    const close = new RegExp(`^ *${marks[0]}{${marks.length},} *$`);
    const leaf = {
      kind: /** @type {const} */ ("code"),
      node,
      piece,
      room: MAX_CHARS,
      text: "",
      close,
      indent,
    };
    figure.append(
      this.#hooks.code(info.split(" ")[0], () => leaf.text),
      node,
    );
    node.tabIndex = 0; // so that the keyboard can scroll it
    node.append(piece);
    this.#leaf = leaf;
  }

  /** @param {string} head @param {string} delimiters */
  #openTable(head, delimiters) {
    const box = this.#place(make("div"));
    Object.assign(box, { className: "table", tabIndex: 0 }); // so that the keyboard can scroll it
    const aligns = cells(delimiters).map(
      (cell) => /^(:?)-+(:?)$/.exec(cell)?.slice(1).join("-") ?? "",
    );
    const leaf = { kind: /** @type {const} */ ("table"), box, body: newBody(box, "thead"), aligns };
    this.#row(leaf, head, "th");
    leaf.body = /** @type {HTMLElement} */ (leaf.body.parentNode?.appendChild(make("tbody")));
    this.#leaf = leaf;
  }

  /** @param {TableLeaf} leaf @param {string} line */
  #row(leaf, line, tag = "td") {
    if (leaf.body.childElementCount >= MAX_ROWS) leaf.body = newBody(leaf.box, "tbody");
    const row = leaf.body.appendChild(make("tr"));
    const texts = cells(line);
    for (const [at, align] of leaf.aligns.entries()) {
      const cell = row.appendChild(make(tag));
      cell.className = { "-:": "end", ":-:": "center" }[align] ?? "";
      cell.append(...inline(texts[at] ?? "", this.#hooks, false));
    }
  }
}

/** @param {HTMLElement} box @param {string} part */
const newBody = (box, part) => box.appendChild(make("table")).appendChild(make(part));

/** @param {string} text @param {Leaf} leaf @param {boolean} isWhole @returns {Plan["kind"]} */
function kindOf(text, leaf, isWhole) {
  if (!text.trim()) return "blank";
  if (HEADING.test(text)) return "heading";
  if (!isWhole) return "text";
  if (FENCE.test(text)) return "code";
  if (isDelimiter(text, leaf)) return "table";
  if (RULE.test(text)) return "rule";
  if (leaf?.kind === "table" && text.includes("|")) return "tableRow";
  return /^ *\|/.test(text) && leaf?.kind !== "text" && leaf?.kind !== "row" ? "row" : "text";
}

/** Whether a line makes the one above it the head of a table. @param {string} text @param {Leaf} leaf */
function isDelimiter(text, leaf) {
  const above = leaf && "raw" in leaf ? leaf.raw.split("\n").pop() : "";
  if (!above?.includes("|") || !text.includes("|")) return false;
  return cells(text).every((cell) => /^:?-+:?$/.test(cell));
}

/** @param {string} row */
const cells = (row) =>
  row
    .trim()
    .replace(/^\||(?<!\\)\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
