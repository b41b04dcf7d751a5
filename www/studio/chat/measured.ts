import type { Difference, PairEvaluation, TextEvaluation, Verdict } from "tabtune";
import { count } from "../ui/format.js";
import type { HeldoutLosses } from "../library/learnt.js";

/** What a measurement came to, for people. */
export interface Measured {
  verdict: string;
  counted: string;
  /** The same in a few words, for a list. */
  short: string;
  /** Where the change lies; undefined where it has no interval. */
  picture: Picture | undefined;
}

/** An interval on a line whose middle is no change, and whose right half is better: all between 0 and 1. */
export interface Picture {
  low: number;
  value: number;
  high: number;
}

/** So many rows are no longer few. */
const MANY = 50;

/** What the package decides nothing by. */
const TOO_FEW = "Not decided: fewer than five rows decide nothing.";

/** How likely texts are, or how pairs are ranked, before and after. */
export function measuredWords(evaluation: TextEvaluation | PairEvaluation): Measured {
  const { rows, verdict, failed } = evaluation;
  const is_of_pairs = evaluation.kind === "pairs";
  const what = is_of_pairs ? "pair" : "row";
  const counted = is_of_pairs ? pairWords(evaluation) : textWords(evaluation);
  const missing = failed.length > 0 ? ` ${count(failed.length, what)} could not be measured.` : "";
  const short = `${verdict === "undecided" ? "not decided by" : `${verdict} on`} ${count(rows, `other ${what}`)}`;
  const change = is_of_pairs ? evaluation.difference.accuracy : evaluation.difference.loss;
  return { verdict: verdictWords(verdict, rows), counted: counted + missing, short, picture: pictureOf(change, !is_of_pairs) };
}

/**
 * What a run's own share of held-out rows told, where these are no longer here to be measured one by one: of their mean there is
 * no interval, and so no verdict.
 */
export function heldoutWords({ rows, before, after }: HeldoutLosses): Measured {
  const change = `${before.toFixed(3)} → ${after.toFixed(3)}`;
  const counted =
    `Measured by the run itself on the ${count(rows, "row")} that it held out, which are no longer here. Less is better; but without an interval nothing ` +
    "says whether chance alone brought it about. Choose other rows that it has not learnt from for a verdict.";
  return { verdict: `Held-out loss ${change}.`, counted, short: `held-out loss ${change}`, picture: undefined };
}

function verdictWords(verdict: Verdict, rows: number): string {
  if (verdict === "better") return "Better, on rows like these.";
  if (verdict === "worse") return "Worse, on rows like these.";
  if (rows < 5) return TOO_FEW;
  return rows < MANY ? "Not decided by so few rows: chance alone could bring this about." : "Not decided: chance alone could bring this about.";
}

function textWords({ rows, base, tuned, difference }: TextEvaluation): string {
  const { low, high } = difference.loss;
  const loss = `Loss a token ${base.loss.value.toFixed(3)} → ${tuned.loss.value.toFixed(3)}, on ${count(rows, "row")}`;
  return `${loss} (95 % interval of the change: ${signed(low)} to ${signed(high)}). Less is better.`;
}

function pairWords({ rows, base, tuned, difference, win_rate }: PairEvaluation): string {
  const { low, high } = difference.accuracy;
  const points = `95 % interval of the change: ${signed(100 * low, 0)} to ${signed(100 * high, 0)} points`;
  const ranked = `It finds the better answer likelier in ${percent(base.accuracy.value)} → ${percent(tuned.accuracy.value)} % of ${count(rows, "pair")}`;
  const won = `${percent(win_rate.value)} % of the better answers became likelier than they were`;
  return `${ranked} (${points}). ${won} (${percent(win_rate.low)} to ${percent(win_rate.high)} %).`;
}

/** The line is as long as the interval needs. */
function pictureOf({ low, value, high }: Difference, less_is_better: boolean): Picture {
  const half = 1.25 * Math.max(Math.abs(low), Math.abs(high), Number.MIN_VALUE);
  const place = (change: number) => 0.5 + ((less_is_better ? -change : change) / half) * 0.5;
  const [one, other] = [place(low), place(high)];
  return { low: Math.min(one, other), value: place(value), high: Math.max(one, other) };
}

const percent = (share: number) => Math.round(100 * share);

/** A change with its sign: nothing is neither more nor less. */
function signed(change: number, digits = 3): string {
  const size = Math.abs(change).toFixed(digits);
  if (Number(size) === 0) return size;
  return `${change < 0 ? "−" : "+"}${size}`;
}
