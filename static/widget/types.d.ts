// Declares the types of the widget for `tsc`. This file is not served.

type Panel = import("./panel.js").Panel;
type Words = Record<string, string>;

/** Describes a passage that the answer may cite. */
interface Source {
  number: number;
  title: string;
  section: string | null;
  url: string;
  snippet: string;
  score: number;
}

/** Describes a whole answer: the event `done` of the stream, or the JSON answer. */
interface Done {
  status: string;
  finish_reason: string;
  cited: number[];
  request_id: string;
}

/**
 * Describes a failure of the server, or of the widget: then `code` is a key of its words, and `detail` is
 * empty.
 */
interface Problem {
  code: string;
  detail: string;
  retryable: boolean;
  /** Seconds. */
  retry_after?: number;
  errors?: { field: string; message: string }[];
}

/**
 * Describes the ending of an answer: `done`, with a problem, or with a state of the widget, such as `stopped`
 * or `cut`.
 */
interface Ending {
  done?: Done;
  problem?: Problem;
  state?: string;
}

/** Holds a question and its answer, as the tab stores them. */
interface Turn {
  query: string;
  /** Text that the reader had selected on the page. */
  selection: string;
  text: string;
  sources: Source[];
  ending: Ending;
}

/** Holds the text to put into the box for the question, and the selected text to quote above it. */
interface Opening {
  question?: string;
  selection?: string;
}

/** Describes the members of the element that the panel uses. */
interface DocentChat extends HTMLElement {
  words: Words;
  language: string;
  fetch: typeof window.fetch;
  readJson(name: string): Record<string, unknown> | null;
}

/** Shows an answer while it comes. */
interface AnswerView {
  showSources(sources: Source[]): void;
  appendText(text: string): void;
}

/** Creates the nodes that the Markdown writer leaves to the turn. */
interface MarkdownHooks {
  /** Creates an empty link; null for an address that must not be one. */
  createLink(url: string): HTMLElement | null;
  /** Creates the link for `[n]`; null where there is no such source. */
  createCitation(number: number): HTMLElement | null;
  /** Creates the caption above a block of code. */
  createCaption(language: string, readText: () => string): Node | string;
}

/** Holds the answer, an item whose lines have `indent` spaces in front, or a quote (-1). */
interface Container {
  node: HTMLElement;
  indent: number;
  /** List at the container's end that the next line may continue. */
  list: { node: HTMLElement; mark: string } | null;
}

/** Holds a paragraph or heading. */
interface TextLeaf {
  kind: "text" | "heading";
  node: HTMLElement;
  raw: string;
  isShown: boolean;
}

/** Holds a line that may become the head of a table. */
interface RowLeaf {
  kind: "row";
  raw: string;
}

/** Holds a block of code until the line that `close` matches. */
interface CodeLeaf {
  kind: "code";
  node: HTMLElement;
  /** Last part of the block, which takes so many more characters. */
  piece: HTMLElement;
  room: number;
  text: string;
  close: RegExp;
  indent: number;
}

/** Holds a table; `body` takes its next row. */
interface TableLeaf {
  kind: "table";
  box: HTMLElement;
  body: HTMLElement;
  aligns: string[];
}

/** Holds the block that the next line may continue. */
type Leaf = TextLeaf | RowLeaf | CodeLeaf | TableLeaf | null;

/** Describes the place of a line among the blocks. */
interface LinePlan {
  /** Containers that the line continues. */
  depth: number;
  /** Items that the line opens, and quotes: null. */
  opens: (RegExpExecArray | null)[];
  kind: "blank" | "body" | "code" | "heading" | "row" | "rule" | "table" | "tableRow" | "text";
  text: string;
}
