/** The punctuation that Python calls so. */
const PUNCTUATION = /[!-/:-@[-`{-~]/g;
/** Articles as whole words. JavaScript's own \b takes letters with accents for the ends of words. */
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/**
 * An answer as SQuAD's official script compares it (Rajpurkar et al. 2016, evaluate-v2.0.py): in lower case, without
 * punctuation, without English articles, and with single spaces.
 */
export function normalized(answer: string): string {
  const bare = answer.toLowerCase().replace(PUNCTUATION, "").replace(ARTICLES, " ");
  return bare.split(/\s+/).filter(Boolean).join(" ");
}

/** 1 where an answer is one of those that are right, else 0. */
export function exactMatch(text: string, answers: readonly string[]): number {
  return answers.some((answer) => normalized(answer) === normalized(text)) ? 1 : 0;
}

/** How much of the nearest right answer a text shares with it: the harmonic mean of precision and recall of words. */
export function f1(text: string, answers: readonly string[]): number {
  return Math.max(...answers.map((answer) => f1Of(wordsOf(text), wordsOf(answer))));
}

function f1Of(given: string[], right: string[]): number {
  // Where there is nothing to say, only silence is right.
  if (given.length === 0 || right.length === 0) return given.length === right.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let shared = 0;
  for (const word of given) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    shared += 1;
  }
  return (2 * shared) / (given.length + right.length);
}

function wordsOf(answer: string): string[] {
  return normalized(answer).split(" ").filter(Boolean);
}
