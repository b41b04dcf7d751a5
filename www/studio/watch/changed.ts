/** Words of a text that follow one another, and whether an earlier text had them there. */
export interface Part {
  text: string;
  is_new: boolean;
}

/** Words that are compared at most: both lists are held against one another. */
const MOST = 400;

/** A text in parts: which of its words an earlier one had in this order, and which it did not. */
export function changedWords(earlier: string, later: string): Part[] {
  const [old, now] = [wordsOf(earlier), wordsOf(later)];
  if (old.length > MOST || now.length > MOST) return [{ text: later, is_new: false }];
  const common = commonOf(old, now);
  const parts: Part[] = [];
  let [at, from] = [0, 0];
  while (at < now.length) {
    const is_same = from < old.length && bare(old[from]!) === bare(now[at]!);
    if (is_same) from++;
    else if (from < old.length && common(from + 1, at) >= common(from, at + 1)) {
      from++;
      continue;
    }
    const last = parts.at(-1);
    if (last && last.is_new === !is_same) last.text += now[at++]!;
    else parts.push({ text: now[at++]!, is_new: !is_same });
  }
  return parts;
}

/** How many words two lists have in common in the same order, from a place of each on. */
function commonOf(old: string[], now: string[]): (from: number, at: number) => number {
  const counts = Array.from({ length: old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let from = old.length - 1; from >= 0; from--) {
    for (let at = now.length - 1; at >= 0; at--) {
      const is_same = bare(old[from]!) === bare(now[at]!);
      counts[from]![at] = is_same ? counts[from + 1]![at + 1]! + 1 : Math.max(counts[from + 1]![at]!, counts[from]![at + 1]!);
    }
  }
  return (from, at) => counts[from]?.[at] ?? 0;
}

const wordsOf = (text: string) => text.match(/\S+\s*/g) ?? [];

const bare = (word: string) => word.trim();
