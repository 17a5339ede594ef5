/** The inside of a paragraph: emphasis, code, links, citations. */

/** The bounds keep bad input cheap. `end` tells what may end a mark beside its counterpart. @param {string} end */
const pattern = (end) =>
  new RegExp(
    [
      "\\\\(?<escaped>[!-/:-@[-`{-~])",
      "(?<ticks>`+)(?<code>[^]*?)(?:(?<!`)\\k<ticks>(?!`)|$)", // as the server reads it, code that stays open ends with the paragraph
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
const [WHOLE, GROWING] = [pattern(""), pattern("|$")];
/** What may still turn into something else at the end of a text that grows. */
const TAIL =
  /(?:[*_`!\\]{1,3}|!?\[[^[\]]{0,200}|!?\[[^[\]]{1,500}\]\([^\s()<>]{0,2000}|<[br /]{0,4})$/;

/** The nodes of `text`; while it grows, what is open counts as closed. @param {string} text @param {MarkdownHooks} hooks @param {boolean} isGrowing */
export function inline(text, hooks, isGrowing) {
  const nodes = /** @type {(Node | string)[]} */ ([]);
  let end = 0;
  for (const match of text.matchAll(isGrowing ? GROWING : WHOLE)) {
    nodes.push(text.slice(end, match.index));
    end = match.index + match[0].length;
    const { escaped, ticks, code, strong, star, bar, label, url, cited, bare, line } =
      match.groups ?? {};
    const inside = strong ?? star ?? bar;
    let node = null;
    if (cited) node = hooks.citation(Number(cited));
    else if (line) node = document.createElement("br");
    else if (ticks) {
      node = document.createElement("code");
      node.append(/^ .*\S.* $/s.test(code) ? code.slice(1, -1) : code);
    } else if (inside) {
      node = document.createElement(strong ? "strong" : "em");
      node.append(...inline(inside, hooks, isGrowing && end === text.length));
    } else if (!escaped) {
      node = hooks.link(url ?? bare);
      node?.append(label ?? bare);
    }
    nodes.push(node ?? escaped ?? label ?? match[0]);
  }
  const rest = text.slice(end);
  nodes.push(isGrowing ? rest.replace(TAIL, "") : rest);
  return nodes.filter((node) => node !== "");
}

/** Makes the children of `node` those that `fresh` names, and keeps the ones that are so already. @param {Element} node @param {(Node | string)[]} fresh */
export function morph(node, fresh) {
  const old = [...node.childNodes];
  for (const [at, next] of fresh.entries()) {
    const kept = old[at];
    if (!kept) node.append(next);
    else if (kept instanceof Text && !(next instanceof Element)) {
      const data = next instanceof Node ? next.textContent : next;
      if (kept.data !== data) kept.data = data ?? "";
    } else if (kept instanceof Element && next instanceof Element && isAlike(kept, next))
      morph(kept, [...next.childNodes]);
    else kept.replaceWith(next);
  }
  for (const gone of old.slice(fresh.length)) gone.remove();
}

/** @param {Element} one @param {Element} other */
const isAlike = (one, other) => one.cloneNode(false).isEqualNode(other.cloneNode(false));
