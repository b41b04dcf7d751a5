/** From where to where an axis goes. */
export type Range = readonly [low: number, high: number];

/** The smallest part of the whole that can be looked at. */
const SMALLEST = 1 / 1000;

/** A range that is so many times as wide, around a place that stays where it is. Undefined is the whole. */
export function zoomed(range: Range, whole: Range, times: number, around = (range[0] + range[1]) / 2): Range | undefined {
  const all = whole[1] - whole[0];
  const width = Math.max(SMALLEST * all, (range[1] - range[0]) * times);
  if (width >= all) return undefined;
  const share = (around - range[0]) / (range[1] - range[0]);
  return within(around - share * width, width, whole);
}

/** A range of the same width, so many widths further on. */
export function moved(range: Range, whole: Range, widths: number): Range {
  const width = range[1] - range[0];
  return within(range[0] + widths * width, width, whole);
}

function within(low: number, width: number, whole: Range): Range {
  const first = Math.min(Math.max(low, whole[0]), whole[1] - width);
  return [first, first + width];
}
