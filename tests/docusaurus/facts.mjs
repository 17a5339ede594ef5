// Records the results of the installed packages for tricky names: `slugs.json` has headings and the anchors
// that github-slugger makes, `prefixes.json` has names of files and folders and the same names without their
// number. Run `node facts.mjs` after an update of Docusaurus.

import { writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
// Takes the copy that Docusaurus itself uses; the package is no dependency of these tests.
const GithubSlugger = createRequire(require.resolve("@docusaurus/utils"))("github-slugger");
const {
  DefaultNumberPrefixParser,
} = require("@docusaurus/plugin-content-docs/lib/numberPrefix.js");

const HEADINGS = [
  // Latin, blanks and signs of ASCII.
  "With Docker",
  "ALL CAPITALS",
  "camelCase and PascalCase",
  "snake_case_name",
  "kebab-case-name",
  "--lid, -l",
  "-",
  "---",
  "_",
  "__init__",
  "",
  " ",
  "   ",
  " before and after ",
  "two  blanks   and three",
  "What's new?",
  "C++ & C#",
  "100% (really!)",
  "a/b\\c|d",
  "user@example.com",
  "https://example.com/a?b=c&d=e#f",
  "`code` in *signs*",
  "Array<T>",
  "{braces} [brackets] (parentheses)",
  "$HOME = ~/kettle^2",
  "a.b.c v1.2.3",
  "Q: why; A: so",
  "\"double\" 'single' `back`",
  "1. First",
  "2024-01-31",
  "x -- y - z",
  "constructor",
  "__proto__",
  "&amp; &#38;",
  // Blanks and signs that are invisible.
  "a tab\there",
  "a line\nbreak",
  "a carriage\r\nreturn",
  "no\u00A0break",
  "narrow\u202Fblank",
  "figure\u2007blank",
  "en\u2002em\u2003thin\u2009hair\u200A",
  "ideographic\u3000blank",
  "ogham\u1680blank",
  "zero\u200Bwidth",
  "zero\u200Cwidth non-joiner",
  "zero\u200Dwidth joiner",
  "word\u2060joiner",
  "byte\uFEFForder mark",
  "soft\u00ADhyphen",
  "left\u200Eand right\u200Fmarks",
  "isolated \u2067text\u2069",
  "line\u2028and paragraph\u2029separators",
  "next\u0085line",
  "null\u0000bell\u0007delete\u007F",
  "private \uE000 use",
  "replacement \uFFFD sign",
  "no character \uFFFF",
  // Letters whose lower-case form is special.
  "İstanbul",
  "ISPARTA ı",
  "Straße",
  "STRASSE \u1E9E",
  "ΟΔΟΣ ΣΟΦΙΑΣ",
  "Σ",
  "ΑΣ. ΒΣ' ΓΣΔ",
  "\u01C4 \u01C5 \u01C6",
  "\u212A \u212B \u2126",
  "ﬁ ﬂ ﬃ",
  "\u13A0\u13B5",
  "\u1C90\u1C91",
  "\u{10400}\u{10401}",
  "Ⅷ ⅷ",
  // Accents, composed and not.
  "Crème brûlée",
  "Cre\u0300me bru\u0302le\u0301e",
  "A\u030Angstro\u0308m",
  "Größe, Übermaß & Öl",
  "Łódź, Århus, Ñandú",
  "Tiếng Việt",
  "z\u0351a\u0363l\u0362g\u0347o",
  // Other scripts.
  "Быстрый старт",
  "Η γρήγορη αρχή;",
  "快速开始",
  "第一步：安装（可选）",
  "《指南》、“引号”。",
  "はじめに・ガイド「例」",
  "ハンバーガー ﾊﾝﾊﾞｰｶﾞｰ",
  "ＦＵＬＬ width ０１２！",
  "시작하기",
  "\u1112\u1161\u11AB\u1100\u1173\u11AF",
  "کیا یہ کام کرتا ہے؟",
  "فوری آغاز، دوسرا حصہ۔",
  "مرحبًا بالعالم",
  "نسخه ۲ می\u200Cشود",
  "שָׁלוֹם עולם־קטן",
  "हिन्दी में शुरुआत।",
  "क्ष त्र ज्ञ १२३",
  "বাংলা ভাষা",
  "தமிழ் மொழி",
  "เริ่มต้นใช้งาน ๑๒๓",
  "ຄູ່ມື",
  "မြန်မာ",
  "ភាសាខ្មែរ។",
  "བོད་ཡིག།",
  "አማርኛ ፩፪፫።",
  "Հայերեն՞",
  "ქართული",
  "ᠮᠣᠩᠭᠣᠯ",
  "ߒߞߏ",
  // Punctuation and symbols of many scripts.
  "“double” ‘single’ „low‟ «angle» ‹small›",
  "en–dash em—dash fig‒bar―",
  "non‑breaking‐hyphens",
  "dots… ‥ · • ‧",
  "¿Qué? ¡Sí!",
  "§ 5 ¶ 3 † ‡ ※",
  "under‿tie ⁀ ﹏ ＿",
  "5 × 3 ÷ 2 ± 1 ≤ 9 ≠ ∞ √",
  "→ ← ⇒ ↔ ▶ ■ ★ ☑ ✓ ✗",
  "€ £ ¥ ₹ ₿ ¢",
  "℃ ℉ ™ © ® ℠ № ℓ",
  "a ^ b ` c ´ d ¨ e ¯ f",
  // Characters that look like digits and are no decimal digits.
  "x² y³ z¹ H₂O",
  "① ② ⑳ ⓪ ❶",
  "Ⓐ ⓑ 🅰 🄰",
  "½ ¼ ⅓ ⅞",
  "ª º ᵃ ʰ ˈ",
  "一二三 ㊀ ㈠ ㎏",
  "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𝟙𝟚",
  // Emoji.
  "🚀 Launch",
  "Launch 🚀",
  "Tea ☕ time",
  "Tea ☕\uFE0F time",
  "Text ☎\uFE0E style",
  "❤\uFE0F heart",
  "1\uFE0F\u20E3 keycap #\uFE0F\u20E3",
  "👍🏽 skin",
  "👩\u200D💻 joined",
  "🏳\uFE0F\u200D🌈 flag 🇩🇪 of 🇨🇭",
  "🫖 thirteen 🫨 fifteen",
  "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F} tags",
  // Letters that are younger than the table of the slugger, and ones outside of the first plane.
  "\u{20000}\u{2A6DF} \u{30000}",
  "\u{31350} fifteen",
  "\u{2EBF0} fifteen one",
  "\u{11F04} kawi",
  "\u0870 fourteen",
  "𐤀𐤁 𒀀 𓀀",
];

const NAMES = [
  "intro",
  "01-intro",
  "1-intro",
  "0-intro",
  "001-intro",
  "01_intro",
  "01.intro",
  "01 - intro",
  "01 -intro",
  "01- intro",
  "03. setup",
  "3 . setup",
  "02_guides",
  "01--intro",
  "01-_.intro",
  "01 intro",
  "01",
  "01-",
  "01 - ",
  "1984",
  "2024-01-notes",
  "2024-tea-day",
  "2024_01_31",
  "7.0-changes",
  "7.0",
  "1-2-3",
  "1.2 intro",
  "1- 2-intro",
  "1 - 2024-01-notes",
  "01-02 intro",
  "01-7up",
  "1-a-2-b",
  "-01-intro",
  " 01-intro",
  "a01-intro",
  "intro-01",
  "v1-intro",
  "１-fullwidth",
  "٣-arabic",
  "01-Überblick",
  "01-指南",
  "01\u00A0-\u00A0no break",
  "01\u2013en dash",
  "01-index",
  "01-README",
  "01- -intro",
  "01-.hidden",
  "99999999999999999999-many",
  "01-two\nlines",
];

/** Contents of the two files, by name. */
export const facts = {
  "slugs.json": writePairs(HEADINGS, GithubSlugger.slug),
  "prefixes.json": writePairs(NAMES, (name) => DefaultNumberPrefixParser(name).filename),
};

/**
 * Writes pairs of strings, one a line. Escapes invisible characters, so that no editor changes them.
 *
 * @param {string[]} names
 * @param {(name: string) => string} convert
 */
function writePairs(names, convert) {
  const lines = names.map((name) => `  [${escapeString(name)}, ${escapeString(convert(name))}]`);
  return `[\n${lines.join(",\n")}\n]\n`;
}

/** @param {string} text */
function escapeString(text) {
  return JSON.stringify(text).replace(/(?! )[\p{Z}\p{C}\p{M}]/gu, (sign) =>
    Array.from({ length: sign.length }, (_, unit) => sign.charCodeAt(unit))
      .map((unit) => `\\u${unit.toString(16).padStart(4, "0")}`)
      .join(""),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of Object.entries(facts)) {
    await writeFile(new URL(name, import.meta.url), text);
  }
}
