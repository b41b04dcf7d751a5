/** What stands under one heading of a page. */
export interface Section {
  /** Empty for what stands under the title. */
  anchor: string;
  heading: string;
  text: string;
}

/** A page as the build wrote it down to be searched. `page` is its address, seen from the guides' folder. */
export interface SearchedPage {
  page: string;
  title: string;
  theme: string;
  sections: Section[];
}

/** A piece of text, which is one of the words that were looked for or stands around them. */
export interface Piece {
  text: string;
  is_hit: boolean;
}

export interface Found {
  address: string;
  title: string;
  heading: string;
  excerpt: Piece[];
}

/** How many characters of a text are shown around what was found. */
const EXCERPT = 150;

/** The words of a question, as they are looked for. A name such as "adapter_config.json" is one. */
const wordsOf = (query: string): string[] => query.toLowerCase().match(/[\p{L}\p{N}_]+(?:[/.-][\p{L}\p{N}_]+)*/gu) ?? [];

/** The sections that have all of the words, best first. A word may be the beginning or a part of a longer one. */
export function find(pages: readonly SearchedPage[], query: string): Found[] {
  const words = wordsOf(query);
  if (words.length === 0) return [];
  const found = pages.flatMap((page) => page.sections.map((section) => ({ page, section, score: scoreOf(page, section, words) })));
  const best = found.filter(({ score }) => score > 0).sort((one, other) => other.score - one.score);
  return best.map(({ page, section }) => ({
    address: section.anchor ? `${page.page}#${section.anchor}` : page.page,
    title: page.title,
    heading: section.anchor ? section.heading : "",
    excerpt: excerptOf(section.text, words),
  }));
}

/** Nought where a word is missing. A heading says more of what a section is about than its text, and a whole word more than a part. */
function scoreOf({ title }: SearchedPage, { heading, text }: Section, words: string[]): number {
  let score = 0;
  for (const word of words) {
    const of_word = Math.max(8 * nearness(heading, word), 4 * nearness(title, word), nearness(text, word));
    if (of_word === 0) return 0;
    score += of_word;
  }
  return score;
}

/** 4 where a text is just the word, 3 where it has it as a word, 2 as a beginning of one, 1 as a part of one, and nought else. */
function nearness(text: string, word: string): number {
  const lower = text.toLowerCase();
  if (lower === word) return 4;
  let best = 0;
  for (let at = lower.indexOf(word); at >= 0 && best < 3; at = lower.indexOf(word, at + 1)) {
    const begins = !isLetter(lower[at - 1]);
    const ends = !isLetter(lower[at + word.length]);
    best = Math.max(best, begins && ends ? 3 : begins ? 2 : 1);
  }
  return best;
}

const isLetter = (character: string | undefined): boolean => character !== undefined && /[\p{L}\p{N}_]/u.test(character);

/** The text around the first of the words, with all of them marked. */
function excerptOf(text: string, words: string[]): Piece[] {
  const lower = text.toLowerCase();
  const first = Math.min(...words.map((word) => lower.indexOf(word)).filter((at) => at >= 0));
  const middle = Number.isFinite(first) ? first : 0;
  // Whole words alone.
  const from = middle < EXCERPT / 2 ? 0 : text.indexOf(" ", middle - EXCERPT / 2) + 1;
  const end = text.length <= from + EXCERPT ? text.length : text.lastIndexOf(" ", from + EXCERPT);
  const shown = `${from > 0 ? "… " : ""}${text.slice(from, Math.max(end, middle))}${end < text.length ? " …" : ""}`;
  const hit = new RegExp(`(${words.map((word) => word.replace(/[/.-]/g, "\\$&")).join("|")})`, "gi");
  // Splitting by a group gives what is between, and at odd places what the group was.
  return shown.split(hit).map((text, index) => ({ text, is_hit: index % 2 === 1 })).filter(({ text }) => text !== "");
}
