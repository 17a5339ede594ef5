// The types of the widget: for `tsc`, and not served.

type Panel = import("./panel.js").Panel;
type Words = Record<string, string>;

/** A passage that the answer may cite. */
interface Source {
  number: number;
  title: string;
  section: string | null;
  url: string;
  snippet: string;
  score: number;
}

/** What ends an answer: `done` of the stream, or the JSON answer. */
interface Done {
  status: string;
  finish_reason: string;
  cited: number[];
  request_id: string;
}

/** A failure as the server tells it, or as the widget does: then `code` is a key of its words, and `detail` is empty. */
interface Problem {
  code: string;
  detail: string;
  retryable: boolean;
  /** Seconds. */
  retry_after?: number;
  errors?: { field: string; message: string }[];
}

/** How an answer ended: well, with a failure, by the reader, or in the midst. */
interface Ending {
  done?: Done;
  problem?: Problem;
  state?: string;
}

/** A question with its answer, as the tab keeps it. */
interface Turn {
  query: string;
  /** What the reader had selected on the page. */
  selection: string;
  text: string;
  sources: Source[];
  ending: Ending;
}

/** What to put into the box for the question, and above it. */
interface Opening {
  question?: string;
  selection?: string;
}

/** What the element gives the panel. */
interface DocentChat extends HTMLElement {
  words: Words;
  language: string;
  fetch: typeof window.fetch;
  json(name: string): Record<string, unknown> | null;
}

/** What shows an answer while it comes. */
interface AnswerView {
  sources(sources: Source[]): void;
  write(text: string): void;
}

interface MarkdownHooks {
  /** An empty link; null for an address that must not be one. */
  link(url: string): HTMLElement | null;
  /** What stands for `[n]`; null where there is no such source. */
  citation(number: number): HTMLElement | null;
  /** What stands above a block of code. */
  code(language: string, text: () => string): Node | string;
}

/** The answer, an item whose lines have `indent` spaces in front, or a quote (-1); and the list at its end, if it may go on. */
interface Container {
  node: HTMLElement;
  indent: number;
  list: { node: HTMLElement; mark: string } | null;
}

/** A paragraph or heading. */
interface TextLeaf {
  kind: "text" | "heading";
  node: HTMLElement;
  raw: string;
  isShown: boolean;
}

/** A line that may become the head of a table. */
interface RowLeaf {
  kind: "row";
  raw: string;
}

interface CodeLeaf {
  kind: "code";
  node: HTMLElement;
  piece: HTMLElement;
  room: number;
  text: string;
  close: RegExp;
  indent: number;
}

interface TableLeaf {
  kind: "table";
  box: HTMLElement;
  body: HTMLElement;
  aligns: string[];
}

/** What the next line may continue. */
type Leaf = TextLeaf | RowLeaf | CodeLeaf | TableLeaf | null;

/** Where a line belongs: how many containers go on, the items (and quotes: null) that it opens, and what it holds. */
interface Plan {
  depth: number;
  opens: (RegExpExecArray | null)[];
  kind: "blank" | "body" | "code" | "heading" | "row" | "rule" | "table" | "tableRow" | "text";
  text: string;
}
