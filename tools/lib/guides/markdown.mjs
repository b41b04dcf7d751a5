// Markdown as the HTML of a page, and as text to search.
import { getDefaults, Lexer, Parser, Renderer, Tokenizer } from "marked";
import { anchorOf } from "../../api-pages.mjs";
import { escaped, highlighted } from "./highlight.mjs";

/** From how many characters on a cell of a table is long. */
const LONG = 40;

/** HTML in Markdown is text like any other: none of the documents needs it, and so none can bring a script or a style. */
class TextTokenizer extends Tokenizer {
  html() {}
  tag() {}
}

class PageRenderer extends Renderer {
  /**
   * `addressOf` gives the address for a link's target, or undefined where it leads nowhere that a page can. `pictureOf` gives a
   * picture as { address, width, height }, or undefined where there is none to show.
   */
  constructor(addressOf, pictureOf) {
    super();
    this.addressOf = addressOf;
    this.pictureOf = pictureOf;
  }

  heading({ depth, anchor, tokens }) {
    // A heading is a link to itself, and has no others in it.
    this.in_heading = true;
    const words = this.parser.parseInline(tokens);
    this.in_heading = false;
    if (depth === 1) return `<h1>${words}</h1>\n`;
    return `<h${depth} id="${escaped(anchor)}"><a href="#${escaped(anchor)}">${words}</a></h${depth}>\n`;
  }

  code({ text, lang }) {
    return `<div class="code"><pre><code>${highlighted(text, lang)}</code></pre></div>\n`;
  }

  link({ href, tokens }) {
    const words = this.parser.parseInline(tokens);
    const address = this.in_heading ? undefined : this.addressOf(href);
    return address === undefined ? words : `<a href="${escaped(address)}">${words}</a>`;
  }

  /** Pictures stand beside one another, as far as there is room. */
  paragraph(token) {
    if (!token.tokens.every(({ type, raw }) => type === "image" || raw.trim() === "")) return super.paragraph(token);
    return `<p class="pictures">${this.parser.parseInline(token.tokens)}</p>\n`;
  }

  /** A picture that leads to itself in full size, and has its place before it has come; its words where there is none to show. */
  image({ href, text }) {
    const picture = this.pictureOf(href);
    if (!picture) return escaped(text);
    const { address, width, height } = picture;
    const size = `width="${width}" height="${height}"`;
    return `<a href="${escaped(address)}"><img src="${escaped(address)}" alt="${escaped(text)}" ${size} loading="lazy" decoding="async" /></a>`;
  }

  table(token) {
    return `<div class="wide">${super.table(token)}</div>\n`;
  }

  /** A column with long texts keeps the width to read them. */
  tablecell(token) {
    const cell = super.tablecell(token);
    return plain(token).length > LONG ? cell.replace(/^<t[dh]/, '$& class="long"') : cell;
  }
}

/**
 * A document as { title, html, headings, sections }. `headings` are those of the second level, { anchor, words }. A section is what
 * stands under a heading, { anchor, heading, text }; the first one, under the title, has no anchor. `addressOf` and `pictureOf` tell
 * where links lead and which pictures there are.
 */
export function readMarkdown(text, addressOf, pictureOf = () => undefined) {
  const options = { ...getDefaults(), tokenizer: new TextTokenizer() };
  const tokens = new Lexer(options).lex(text);
  nameHeadings(tokens);
  const renderer = new PageRenderer(addressOf, pictureOf);
  const headings = tokens.filter(({ type }) => type === "heading");
  return {
    title: plain(headings.find(({ depth }) => depth === 1)),
    html: new Parser({ ...options, renderer }).parse(tokens),
    headings: headings.filter(({ depth }) => depth === 2).map((token) => ({ anchor: token.anchor, words: plain(token) })),
    sections: sectionsOf(tokens),
  };
}

/** Gives each heading its anchor. The second one of the same words gets a number, as on the places where Markdown is read. */
function nameHeadings(tokens) {
  const seen = new Map();
  for (const token of tokens.filter(({ type }) => type === "heading")) {
    const anchor = anchorOf(plain(token));
    const before = seen.get(anchor) ?? 0;
    seen.set(anchor, before + 1);
    token.anchor = before > 0 ? `${anchor}-${before}` : anchor;
  }
}

function sectionsOf(tokens) {
  const sections = [];
  for (const token of tokens) {
    if (token.type === "heading") sections.push({ anchor: token.depth === 1 ? "" : token.anchor, heading: plain(token), text: "" });
    else if (token.type !== "space" && sections.length > 0) sections.at(-1).text += `${plain(token)} `;
  }
  return sections.map(({ text, ...section }) => ({ ...section, text: text.replace(/\s+/g, " ").trim() }));
}

/** The words of a token without any marks. */
function plain(token) {
  if (token.type === "table") return [token.header, ...token.rows].flat().map(plain).join(" ");
  if (token.type === "list") return token.items.map(plain).join(" ");
  if (token.type === "br") return " ";
  if (token.tokens) return token.tokens.map(plain).join(token.type === "list_item" || token.type === "blockquote" ? " " : "");
  return token.text ?? "";
}
