// Colours code as a page is built. Of the five languages that the documents have, a handful of rules each is enough, and none
// of them can lose or change a character; a library would bring a grammar of hundreds of kilobytes for the same four colours.

/** Text as HTML that shows it, character for character. */
export const escaped = (text) =>
  text.replace(/[&<>"']/g, (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" })[character]);

const NUMBER = /(?<![\w$])\d[\d_]*(?:\.\d+)?(?:e[+-]?\d+)?\b/y;
const DOUBLE_QUOTED = /"(?:[^"\\\n]|\\.)*"/y;
const SINGLE_QUOTED = /'(?:[^'\\\n]|\\.)*'/y;

const KEYWORDS = [
  ...["as", "async", "await", "break", "case", "catch", "class", "const", "continue", "default", "delete", "do", "else", "export", "extends"],
  ...["finally", "for", "from", "function", "if", "import", "in", "instanceof", "interface", "let", "new", "null", "of", "readonly", "return"],
  ...["satisfies", "static", "switch", "this", "throw", "true", "false", "try", "type", "typeof", "undefined", "void", "while", "yield"],
];

const SCRIPT = [
  ["comment", /\/\/[^\n]*|\/\*[^]*?\*\//y],
  ["string", DOUBLE_QUOTED],
  ["string", SINGLE_QUOTED],
  ["string", /`(?:[^`\\]|\\.)*`/y],
  // A slash begins an expression only where no value stands before it.
  ["string", /(?<=(?:^|[(,=:[!&|?{};])\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y],
  ["number", NUMBER],
  // Not the name of a property.
  ["keyword", new RegExp(String.raw`(?<![\w$.])(?:${KEYWORDS.join("|")})(?![\w$]|\??:)`, "y")],
  ["plain", /[\w$]+/y],
];

const JSON_RULES = [
  ["name", /"(?:[^"\\\n]|\\.)*"(?=\s*:)/y],
  ["string", DOUBLE_QUOTED],
  ["number", /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y],
  ["keyword", /\b(?:true|false|null)\b/y],
];

const RULES = {
  js: SCRIPT,
  ts: SCRIPT,
  json: JSON_RULES,
  jsonl: JSON_RULES,
  http: [["name", /(?<=^|\n)[\w-]+(?=:)/y]],
  sh: [
    ["comment", /(?<=^|\s)#[^\n]*/y],
    ["string", DOUBLE_QUOTED],
    ["string", SINGLE_QUOTED],
    ["keyword", /(?<=^|\n|[|;&] ?)\s*[\w./-]+/y],
    ["name", /(?<=\s)--?[a-z][\w-]*/y],
  ],
  html: [
    ["comment", /<!--[^]*?-->/y],
    ["keyword", /<\/?[\w!-]+|\/?>/y],
    ["name", /[\w-]+(?==["'])/y],
    ["string", /(?<==)(?:"[^"]*"|'[^']*')/y],
  ],
};

/** Code as HTML with spans of the classes t-comment, t-keyword, t-name, t-number and t-string. Of other languages it is plain. */
export function highlighted(code, language) {
  if (language === "html") return html(code);
  return coloured(code, RULES[language] ?? []);
}

/** What stands in a script element is a script. */
function html(code) {
  const parts = code.split(/(?<=<script\b[^>]*>)([^]*?)(?=<\/script>)/);
  return parts.map((part, index) => coloured(part, index % 2 === 0 ? RULES.html : RULES.js)).join("");
}

function coloured(code, rules) {
  let html = "";
  let at = 0;
  while (at < code.length) {
    const [kind, text] = tokenAt(code, at, rules);
    html += kind === "plain" ? escaped(text) : `<span class="t-${kind}">${escaped(text)}</span>`;
    at += text.length;
  }
  return html;
}

/** The token that begins there: that of the first rule that fits, or one plain character. */
function tokenAt(code, at, rules) {
  for (const [kind, pattern] of rules) {
    pattern.lastIndex = at;
    const [text] = pattern.exec(code) ?? [];
    if (text) return [kind, text];
  }
  return ["plain", code[at]];
}
