/** What a blind comparison came to. */
export interface Comparison {
  /** How often the answer after was picked. */
  wins: number;
  /** How often the one before was. */
  losses: number;
  /** How often there was no difference. */
  ties: number;
}

/** A share with the bounds of its interval, each between 0 and 1. */
export interface Share {
  value: number;
  low: number;
  high: number;
}

/** What can be said of two kinds of answers. */
export type Verdict = "better" | "worse" | "undecided";

/** The normal distribution has 95 % of its mass within so many deviations. */
const DEVIATIONS = 1.959964;

/**
 * The interval of a share that was counted, at 95 % (Wilson 1927, "Probable inference, the law of succession, and
 * statistical inference"). It holds for few trials too, where the usual one is empty or reaches past 1.
 */
export function wilson(hits: number, trials: number): Share {
  if (trials === 0) return { value: NaN, low: 0, high: 1 };
  const value = hits / trials;
  const square = DEVIATIONS ** 2 / trials;
  const middle = (value + square / 2) / (1 + square);
  const half = (DEVIATIONS * Math.sqrt((value * (1 - value)) / trials + square / (4 * trials))) / (1 + square);
  return { value, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** How often the answer after won, of the questions that had a winner. */
export function winRate({ wins, losses }: Comparison): Share {
  return wilson(wins, wins + losses);
}

/** Of fewer questions even all say little: five of five come by chance, for one side or the other, once in 16 times. */
const FEWEST = 6;

/** Better or worse is what the interval says, and nothing where it has one half in it or where the questions are few. */
export function verdictOf(comparison: Comparison): Verdict {
  const { low, high } = winRate(comparison);
  if (comparison.wins + comparison.losses < FEWEST) return "undecided";
  if (low > 0.5) return "better";
  return high < 0.5 ? "worse" : "undecided";
}

const VERDICTS: Record<Verdict, string> = {
  better: "Better, on questions like these.",
  worse: "Worse, on questions like these.",
  undecided: "Not decided: chance alone could bring this about. More questions tell more.",
};

/** The verdict and what it rests on, in words. */
export function verdictWords(comparison: Comparison): { verdict: string; counted: string } {
  const { wins, losses, ties } = comparison;
  if (wins + losses === 0) return { verdict: "Not decided: you saw no difference.", counted: "" };
  const { value, low, high } = winRate(comparison);
  const percent = (share: number) => Math.round(100 * share);
  const interval = `95 % interval: ${percent(low)} to ${percent(high)} %`;
  const won = `The answers after won ${wins} of ${wins + losses}, which is ${percent(value)} % (${interval}).`;
  return { verdict: VERDICTS[verdictOf(comparison)], counted: ties === 0 ? won : `${won} No difference in ${ties}.` };
}
