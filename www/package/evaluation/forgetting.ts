import { noneLeft } from "./answers.js";
import { bootstrap } from "./bootstrap.js";
import { breathe, type EvaluationHost } from "./host.js";
import { PROSE } from "./prose.js";
import { scored } from "./scores.js";
import type { Forgetting, ForgettingOptions, Interval } from "./types.js";

/** A perplexity that rose by more than this is told as forgetting. */
const LIMIT = 1 / 3;

/** Tells how likely the model finds texts that no run was about, before and after. */
export async function forgettingOf(host: EvaluationHost, options: ForgettingOptions): Promise<Forgetting> {
  host.check("forgetting", options, { texts: "any", signal: "signal" });
  const { texts = PROSE } = options;
  if (host.active === null) throw host.fail("bad-state", "no adapter is active, so nothing can be forgotten: train, or load an adapter");
  if (!Array.isArray(texts) || texts.length === 0 || !texts.every((text) => typeof text === "string")) {
    throw host.fail("bad-option", "texts must be a list of texts");
  }
  // How the run's own rows are read has nothing to do with these.
  const { base, tuned, failed } = await scored({ ...host, train: undefined }, { rows: texts.map((text) => ({ text })) }, 1);
  if (base.length === 0) throw host.fail("bad-data", noneLeft(failed));
  const columns = [base.flat(), tuned.flat()].flatMap((scores) => [scores.map(({ logp }) => logp), scores.map(({ tokens }) => tokens)]);
  const statistics = (sums: readonly number[]) => {
    const [before, after] = [-sums[0]! / sums[1]!, -sums[2]! / sums[3]!];
    return { before: Math.exp(before), after: Math.exp(after), rose_by: Math.exp(after - before) - 1 };
  };
  const told = await bootstrap(columns, statistics, { breathe: () => breathe(host) });
  const has_forgotten = told.rose_by.value > LIMIT;
  return { ...told, has_forgotten, sentence: sentenceOf(told, has_forgotten) };
}

function sentenceOf({ before, after, rose_by }: Record<"before" | "after" | "rose_by", Interval>, has_forgotten: boolean): string {
  const way = rose_by.value < 0 ? "fell" : "rose";
  const shares = [rose_by.low, rose_by.high].map(percent).join(" to ");
  const how = `${percent(Math.abs(rose_by.value))} % (95 % interval of the change: ${shares} %)`;
  const found = `On a text that has nothing to do with what was learnt, perplexity ${way} from ${short(before.value)} to ${short(after.value)}, by ${how}`;
  const meaning = has_forgotten
    ? "The model has forgotten some of what it knew: a lower learning rate, fewer steps, a lower rank or rows of other kinds among yours keep more of it."
    : "That is within a third, which is usual.";
  return `${found}. ${meaning}`;
}

const short = (value: number) => (value < 100 ? value.toFixed(1) : String(Math.round(value)));

function percent(share: number): string {
  const whole = Math.round(100 * share);
  // Rounded from just below zero it would be "-0".
  return String(whole === 0 ? 0 : whole);
}
