/**
 * Turns Markdown into nodes of the document while it is written, and never into a string of HTML.
 *
 * Reads the text line by line and leaves finished blocks untouched. Shows only the part of an unfinished line
 * whose meaning is certain. Reads a language model's Markdown more freely than CommonMark does: there is no
 * indented code, no HTML and no underlined heading, and two spaces are enough to nest a list.
 */

import { renderInline, updateChildren } from "./inline.js";

/** Deepest nesting of lists and quotes; deeper marks are text. */
const MAX_DEPTH = 8;
/** Longest piece of a paragraph or of code, in characters; each step lays out the last piece only. */
const MAX_CHARS = 4000;
/** Longest table body, in rows; a longer table is split into several. */
const MAX_ROWS = 100;

const FENCE = /^( *)(`{3,99}|~{3,99}) *([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: +|$)(.*)/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
/** Matches the beginning of a line that may still become another block. */
const UNDECIDED_LINE =
  /^ *(?:[-*_][-*_ ]*|\+ *|\d{1,9}|\d{1,9}[.)] *|#{1,6} *|>|[`~]{1,2}|(?:`{3}|~{3}).*|\|.*)?$/;

const createElement = document.createElement.bind(document);

/** Writes Markdown into a node as the text comes in. */
export class MarkdownWriter {
  /** Open containers, from the answer to the innermost item or quote. @type {Container[]} */
  #stack;
  /** Block that the next line may continue. @type {Leaf} */
  #leaf = null;
  /** Text of the current line that is in no leaf yet. */
  #line = "";
  /** True while the leaf holds the beginning of the current line. */
  #isLineBegun = false;
  #hooks;

  /** @param {HTMLElement} node @param {MarkdownHooks} hooks */
  constructor(node, hooks) {
    this.#stack = [{ node, indent: 0, list: null }];
    this.#hooks = hooks;
  }

  /** Adds text at the end and shows the part whose meaning is certain. @param {string} text */
  appendText(text) {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) this.#takeLine(line.replace(/\r$/, ""), true);
    if (this.#line && this.#takeLine(this.#line, false)) this.#line = "";
    const leaf = this.#leaf;
    if (leaf && "isShown" in leaf && !leaf.isShown) this.#renderLeaf(leaf, true);
  }

  /** Shows the rest of the text and closes all open blocks. No text may follow. */
  finishText() {
    if (this.#line) this.#takeLine(this.#line, true);
    this.#closeContainers(1);
  }

  /**
   * Shows a line, or the beginning of one. Returns false if the beginning does not yet decide the kind of
   * block.
   * @param {string} line @param {boolean} isWhole
   */
  #takeLine(line, isWhole) {
    const leaf = this.#leaf;
    if (this.#isLineBegun) this.#extendLeaf(leaf?.kind === "code" && isWhole ? `${line}\n` : line);
    else {
      const plan = this.#planLine(line, isWhole);
      if (plan) this.#applyPlan(plan);
      else if (line.length > MAX_CHARS) this.#extendLeaf(line);
      else return false;
    }
    this.#isLineBegun = !isWhole;
    if (isWhole && this.#leaf?.kind === "heading") this.#closeLeaf();
    return true;
  }

  /**
   * Decides to which blocks a line belongs; returns null if the beginning of the line does not yet decide that.
   * @param {string} line @param {boolean} isWhole @returns {LinePlan | null}
   */
  #planLine(line, isWhole) {
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
    const opens = /** @type {LinePlan["opens"]} */ ([]);
    for (;;) {
      if (!isWhole && (UNDECIDED_LINE.test(text) || leaf?.kind === "table")) return null;
      const item = RULE.test(text) ? null : ITEM.exec(text);
      const mark = item ?? QUOTE.exec(text);
      // Only a list that begins with 1 may interrupt a paragraph: "in\n2024. Then" stays text.
      const isText = item && !opens.length && leaf?.kind === "text" && /^(?!1\D)\d/.test(item[2]);
      if (!mark || isText || depth + opens.length > MAX_DEPTH) break;
      opens.push(item);
      text = text.slice(mark[0].length);
    }
    const kind = classifyLine(text, opens.length ? null : leaf, isWhole);
    const isLazy = kind === "text" && !opens.length && this.#leaf?.kind === "text";
    return { depth: isLazy ? this.#stack.length : depth, opens, kind, text };
  }

  /** @param {LinePlan} plan */
  #applyPlan({ depth, opens, kind, text }) {
    if (depth < this.#stack.length || opens.length) this.#closeContainers(depth);
    for (const item of opens) this.#openContainer(item);
    const leaf = this.#leaf;
    if (leaf?.kind === "code" && kind === "body") {
      if (leaf.close.test(text)) this.#closeLeaf();
      else this.#extendLeaf(`${text.slice(Math.min(leaf.indent, text.search(/\S|$/)))}\n`);
    } else if (leaf?.kind === "table" && kind === "tableRow") this.#appendRow(leaf, text);
    else if (kind === "table" && leaf && "raw" in leaf) {
      const lines = leaf.raw.split("\n");
      const head = lines.pop() ?? "";
      leaf.raw = lines.join("\n");
      if (lines.length) this.#closeLeaf();
      else if (leaf.kind === "text") leaf.node.remove();
      this.#openTable(head, text);
    } else if (kind === "text" && (leaf?.kind === "text" || leaf?.kind === "row")) {
      this.#extendLeaf(`\n${text.trimStart()}`);
    } else {
      this.#closeLeaf();
      if (kind !== "blank") this.#openLeaf(kind, text);
    }
  }

  /** Closes the innermost containers until `depth` are left. @param {number} depth */
  #closeContainers(depth) {
    this.#closeLeaf();
    this.#stack.length = Math.min(depth, this.#stack.length);
  }

  #closeLeaf() {
    if (this.#leaf?.kind === "row") this.#extendLeaf("");
    if (this.#leaf && "isShown" in this.#leaf) this.#renderLeaf(this.#leaf, false);
    this.#leaf = null;
  }

  get #innermost() {
    return this.#stack[this.#stack.length - 1];
  }

  /**
   * Appends a block to the innermost container, which ends the list there.
   * @template {Node} T @param {T} node
   */
  #appendBlock(node) {
    this.#innermost.list = null;
    return this.#innermost.node.appendChild(node);
  }

  /** Opens a quote, or an item of the current list or of a new list. @param {RegExpExecArray | null} item */
  #openContainer(item) {
    if (!item) {
      this.#stack.push({
        node: this.#appendBlock(createElement("blockquote")),
        indent: -1,
        list: null,
      });
      return;
    }
    const [, { length }, marker] = item;
    const mark = marker.slice(-1);
    let { list } = this.#innermost;
    if (list?.mark !== mark) {
      list = { node: this.#appendBlock(createElement(marker.length > 1 ? "ol" : "ul")), mark };
      if (list.node instanceof HTMLOListElement) list.node.start = parseInt(marker, 10);
      this.#innermost.list = list;
    }
    this.#stack.push({
      node: list.node.appendChild(createElement("li")),
      indent: length + 2,
      list: null,
    });
  }

  /** @param {LinePlan["kind"]} kind @param {string} text */
  #openLeaf(kind, text) {
    if (kind === "rule") this.#appendBlock(createElement("hr"));
    else if (kind === "row") this.#leaf = { kind, raw: text };
    else if (kind === "code") this.#openCode(/** @type {RegExpExecArray} */ (FENCE.exec(text)));
    else if (kind === "heading") {
      const [, marks, raw] = HEADING.exec(text) ?? ["", "", ""];
      // The question is an h3, so the answer begins with h4.
      const node = this.#appendBlock(createElement(`h${Math.min(3 + marks.length, 6)}`));
      this.#leaf = { kind, node, raw, isShown: false };
    } else this.#openParagraph(text.trimStart());
  }

  /** @param {string} raw */
  #openParagraph(raw) {
    return (this.#leaf = {
      kind: "text",
      node: this.#appendBlock(createElement("p")),
      raw,
      isShown: false,
    });
  }

  /** Adds text to the open leaf, and splits the leaf where it is long. @param {string} text */
  #extendLeaf(text) {
    let leaf = this.#leaf;
    if (leaf?.kind === "code") {
      leaf.text += text;
      for (let at = 0; at < text.length; at += MAX_CHARS) {
        const part = text.slice(at, at + MAX_CHARS);
        leaf.room -= part.length;
        if (leaf.room < 0) {
          leaf.room = MAX_CHARS;
          leaf.piece = leaf.node.appendChild(createElement("code"));
        }
        leaf.piece.append(part);
      }
      return;
    }
    if (!leaf || !("isShown" in leaf))
      leaf = this.#openParagraph(leaf?.kind === "row" ? leaf.raw : "");
    leaf.raw += text;
    leaf.isShown = false;
    while (leaf.raw.length > 2 * MAX_CHARS) {
      const at = leaf.raw.lastIndexOf(" ", MAX_CHARS) + 1 || MAX_CHARS;
      const rest = leaf.raw.slice(at);
      leaf.raw = leaf.raw.slice(0, at);
      this.#renderLeaf(leaf, false);
      leaf.node = this.#appendBlock(createElement(leaf.node.tagName));
      leaf.node.className = "continued";
      leaf.raw = rest;
    }
  }

  /** @param {TextLeaf} leaf @param {boolean} isGrowing */
  #renderLeaf(leaf, isGrowing) {
    leaf.isShown = true;
    const raw = leaf.kind === "heading" ? leaf.raw.replace(/ +#* *$/, "") : leaf.raw;
    updateChildren(leaf.node, renderInline(raw, this.#hooks, isGrowing));
  }

  /** @param {RegExpExecArray} fence */
  #openCode([, { length: indent }, marks, info]) {
    const [figure, node, piece] = [
      this.#appendBlock(createElement("figure")),
      createElement("pre"),
      createElement("code"),
    ];
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
      this.#hooks.createCaption(info.split(" ")[0], () => leaf.text),
      node,
    );
    node.tabIndex = 0; // so that the keyboard can scroll it
    node.append(piece);
    this.#leaf = leaf;
  }

  /** @param {string} head @param {string} delimiters */
  #openTable(head, delimiters) {
    const box = this.#appendBlock(createElement("div"));
    Object.assign(box, { className: "table", tabIndex: 0 }); // so that the keyboard can scroll it
    const aligns = splitCells(delimiters).map(
      (cell) => /^(:?)-+(:?)$/.exec(cell)?.slice(1).join("-") ?? "",
    );
    const leaf = {
      kind: /** @type {const} */ ("table"),
      box,
      body: appendTablePart(box, "thead"),
      aligns,
    };
    this.#appendRow(leaf, head, "th");
    leaf.body = /** @type {HTMLElement} */ (
      leaf.body.parentNode?.appendChild(createElement("tbody"))
    );
    this.#leaf = leaf;
  }

  /** @param {TableLeaf} leaf @param {string} line */
  #appendRow(leaf, line, tag = "td") {
    if (leaf.body.childElementCount >= MAX_ROWS) leaf.body = appendTablePart(leaf.box, "tbody");
    const row = leaf.body.appendChild(createElement("tr"));
    const texts = splitCells(line);
    for (const [at, align] of leaf.aligns.entries()) {
      const cell = row.appendChild(createElement(tag));
      cell.className = { "-:": "end", ":-:": "center" }[align] ?? "";
      cell.append(...renderInline(texts[at] ?? "", this.#hooks, false));
    }
  }
}

/**
 * Appends a table with one part, `thead` or `tbody`, to the box.
 * @param {HTMLElement} box @param {string} part
 */
const appendTablePart = (box, part) =>
  box.appendChild(createElement("table")).appendChild(createElement(part));

/**
 * Names the kind of block of a line whose marks of containers were removed.
 * @param {string} text @param {Leaf} leaf @param {boolean} isWhole @returns {LinePlan["kind"]}
 */
function classifyLine(text, leaf, isWhole) {
  if (!text.trim()) return "blank";
  if (HEADING.test(text)) return "heading";
  if (!isWhole) return "text";
  if (FENCE.test(text)) return "code";
  if (isDelimiterRow(text, leaf)) return "table";
  if (RULE.test(text)) return "rule";
  if (leaf?.kind === "table" && text.includes("|")) return "tableRow";
  return /^ *\|/.test(text) && leaf?.kind !== "text" && leaf?.kind !== "row" ? "row" : "text";
}

/**
 * Returns true if a line makes the one above it the head of a table.
 * @param {string} text @param {Leaf} leaf
 */
function isDelimiterRow(text, leaf) {
  const above = leaf && "raw" in leaf ? leaf.raw.split("\n").pop() : "";
  if (!above?.includes("|") || !text.includes("|")) return false;
  return splitCells(text).every((cell) => /^:?-+:?$/.test(cell));
}

/** Splits a row of a table at the bars that are not escaped. @param {string} row */
const splitCells = (row) =>
  row
    .trim()
    .replace(/^\||(?<!\\)\|$/g, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
