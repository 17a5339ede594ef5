/** Renders the inside of a paragraph: emphasis, code, links, citations. */

/**
 * Builds the pattern of Markdown's marks inside a text. The bounds in the pattern keep bad input cheap.
 * @param {string} end Alternative to the closing mark of emphasis: empty, or the end of a text that grows.
 */
const buildPattern = (end) =>
  new RegExp(
    [
      "\\\\(?<escaped>[!-/:-@[-`{-~])",
      // Code that stays open ends with the paragraph, as the server reads it.
      "(?<ticks>`+)(?<code>[^]*?)(?:(?<!`)\\k<ticks>(?!`)|$)",
      `\\*\\*(?=\\S)(?<strong>[^]{1,999}?)(?:(?<=\\S)\\*\\*(?!\\*)${end})`,
      `\\*(?=[^\\s*])(?<star>[^*]{1,999}?)(?:(?<=\\S)\\*${end})`,
      `(?<![\\p{L}\\p{N}_])_(?=[^\\s_])(?<bar>[^_]{1,999}?)(?:(?<=\\S)_(?![\\p{L}\\p{N}_])${end})`,
      "!?\\[(?<label>[^[\\]]{1,500})\\]\\((?<url>[^\\s()<>]{1,2000})\\)",
      "\\[(?<cited>\\d{1,3})\\]",
      "(?<![\\p{L}\\p{N}])(?<bare>https?://[^\\s<>()\"'*`]{0,1999}[^\\s<>()\"'*`.,:;!?\\]])",
      "(?<line> {2,}\\n|\\\\\\n|<br ?/?>)",
    ].join("|"),
    "gu",
  );
const [WHOLE, GROWING] = [buildPattern(""), buildPattern("|$")];
/** Matches the end of a growing text that may still become a mark. */
const UNDECIDED_END =
  /(?:[*_`!\\]{1,3}|!?\[[^[\]]{0,200}|!?\[[^[\]]{1,500}\]\([^\s()<>]{0,2000}|<[br /]{0,4})$/;

/**
 * Returns the nodes of `text`; while the text grows, emphasis that is still open counts as closed.
 * @param {string} text @param {boolean} isGrowing
 * @param {MarkdownHooks | null} hooks Null renders links and citations as text.
 */
export function renderInline(text, hooks, isGrowing) {
  const nodes = /** @type {(Node | string)[]} */ ([]);
  let end = 0;
  for (const match of text.matchAll(isGrowing ? GROWING : WHOLE)) {
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const { escaped, ticks, code, strong, star, bar, label, url, cited, bare, line } =
      match.groups ?? {};
    const inside = strong ?? star ?? bar;
    let node = null;
    if (cited) node = hooks?.createCitation(Number(cited));
    else if (line) node = document.createElement("br");
    else if (ticks) {
      node = document.createElement("code");
      node.append(/^ .*\S.* $/s.test(code) ? code.slice(1, -1) : code);
    } else if (inside) {
      node = document.createElement(strong ? "strong" : "em");
      node.append(...renderInline(inside, hooks, isGrowing && end === text.length));
    } else if (!escaped) {
      node = hooks?.createLink(url ?? bare);
      node?.append(label ?? bare);
    }
    nodes.push(node ?? escaped ?? label ?? match[0]);
  }
  const rest = text.slice(end);
  nodes.push(isGrowing ? rest.replace(UNDECIDED_END, "") : rest);
  return nodes.filter((node) => node !== "");
}

/**
 * Replaces the children of `node` with `fresh`, but keeps those that are alike, with their focus and selection.
 * @param {Element} node @param {(Node | string)[]} fresh
 */
export function updateChildren(node, fresh) {
  const old = [...node.childNodes];
  for (const [at, next] of fresh.entries()) {
    const kept = old[at];
    if (!kept) node.append(next);
    else if (kept instanceof Text && !(next instanceof Element)) {
      const data = next instanceof Node ? next.textContent : next;
      if (kept.data !== data) kept.data = data ?? "";
    } else if (kept instanceof Element && next instanceof Element && isSameTag(kept, next))
      updateChildren(kept, [...next.childNodes]);
    else kept.replaceWith(next);
  }
  for (const gone of old.slice(fresh.length)) gone.remove();
}

/**
 * Returns true if two elements are equal apart from their children.
 * @param {Element} one @param {Element} other
 */
const isSameTag = (one, other) => one.cloneNode(false).isEqualNode(other.cloneNode(false));
