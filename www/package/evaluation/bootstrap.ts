import type { Difference, Interval, Verdict } from "./types.js";

/** Times that rows are drawn anew. */
const RESAMPLES = 2000;
/** Any seed will do; a fixed one tells the same of the same rows each time. */
const SEED = 42;
/** What lies outside an interval, both sides together. */
const ALPHA = 0.05;
/** With fewer rows than this nothing is decided. */
const FEWEST_ROWS = 5;
/** How long the page waits while rows are drawn. */
const PORTION_MILLIS = 30;

/** Numbers of some rows, made of the sums of their columns, which come with the number of rows. */
export type Statistics<Name extends string> = (sums: readonly number[], rows: number) => Record<Name, number>;

/** How rows are drawn. */
export interface Drawing {
  resamples?: number;
  seed?: number;
  /** Lets the page do something else now and then, and throws where the caller wants to stop. */
  breathe?: () => Promise<void>;
}

/**
 * Numbers with their intervals, by the bootstrap's percentiles: rows are drawn with replacement, as many as there are, and the
 * numbers of 95 % of the draws lie in the interval (Efron and Tibshirani 1993, An Introduction to the Bootstrap, section
 * 13.3). All columns of a row are drawn together, so that what is said of a difference is said of pairs.
 */
export async function bootstrap<Name extends string>(
  columns: readonly ArrayLike<number>[],
  statistics: Statistics<Name>,
  { resamples = RESAMPLES, seed = SEED, breathe = async () => {} }: Drawing = {},
): Promise<Record<Name, Interval>> {
  const rows = columns[0]!.length;
  const sumsOf = (row: (draw: number) => number) => {
    const sums = columns.map(() => 0);
    for (let draw = 0; draw < rows; draw++) {
      const at = row(draw);
      for (let column = 0; column < columns.length; column++) sums[column]! += columns[column]![at]!;
    }
    return sums;
  };
  const values = statistics(sumsOf((row) => row), rows);
  const names = Object.keys(values) as Name[];
  const drawn = names.map(() => new Float64Array(resamples));
  const random = randomOf(seed);
  let since = performance.now();
  for (let resample = 0; resample < resamples; resample++) {
    const found = statistics(sumsOf(() => Math.floor(random() * rows)), rows);
    for (const [index, name] of names.entries()) drawn[index]![resample] = found[name];
    if (performance.now() - since < PORTION_MILLIS) continue;
    await breathe();
    since = performance.now();
  }
  const below = Math.max(1, Math.floor((resamples + 1) * (ALPHA / 2)));
  const intervals = names.map((name, index) => {
    const sorted = drawn[index]!.sort();
    return [name, { value: values[name], low: sorted[below - 1]!, high: sorted[resamples - below]! }];
  });
  return Object.fromEntries(intervals) as Record<Name, Interval>;
}

/** What the interval of a difference says. */
export function verdictOf({ low, high }: Interval, rows: number, greater_is_better: boolean): Verdict {
  if (rows < FEWEST_ROWS) return "undecided";
  if (low > 0) return greater_is_better ? "better" : "worse";
  if (high < 0) return greater_is_better ? "worse" : "better";
  return "undecided";
}

/** Of numbers that have one of "base", "tuned" and "difference" before their names, what an evaluation tells. */
export function compared<Name extends string>(
  intervals: Record<string, Interval>,
  names: readonly Name[],
  rows: number,
  is_greater_better: (name: Name) => boolean,
): { base: Record<Name, Interval>; tuned: Record<Name, Interval>; difference: Record<Name, Difference> } {
  const of = (part: string) => Object.fromEntries(names.map((name) => [name, intervals[`${part} ${name}`]!]));
  const differences = names.map((name) => {
    const interval = intervals[`difference ${name}`]!;
    return [name, { ...interval, verdict: verdictOf(interval, rows, is_greater_better(name)) }];
  });
  return {
    base: of("base") as Record<Name, Interval>,
    tuned: of("tuned") as Record<Name, Interval>,
    difference: Object.fromEntries(differences) as Record<Name, Difference>,
  };
}

/** What {@link compared} takes, of both models' numbers. */
export function differing<Name extends string>(base: Record<Name, number>, tuned: Record<Name, number>): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const name of Object.keys(base) as Name[]) {
    numbers[`base ${name}`] = base[name];
    numbers[`tuned ${name}`] = tuned[name];
    numbers[`difference ${name}`] = tuned[name] - base[name];
  }
  return numbers;
}

/** Numbers from 0 to 1, the same for a seed: sfc32 of Chris Doty-Humphrey's PractRand. */
export function randomOf(seed: number): () => number {
  let [a, b, c, counter] = [0, seed, 0, 1];
  const next = () => {
    const sum = (a + b + counter++) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  // The first numbers are those of the seed alone.
  for (let round = 0; round < 15; round++) next();
  return next;
}
