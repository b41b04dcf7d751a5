import { answered, noneLeft } from "./answers.js";
import { bootstrap, compared, differing } from "./bootstrap.js";
import { breathe, type EvaluationHost } from "./host.js";
import { scored, type Scores, type Texts } from "./scores.js";
import type { EvaluateOptions, Evaluation, PairEvaluation, TextEvaluation } from "./types.js";

/** Rows that are given, or the dataset that they are in. */
export type Given = { readonly name: string } | readonly object[];

/** Tells whether what was learnt makes a model better on rows that it did not learn from. */
export async function evaluateRows(asking: EvaluationHost, given: Given, options: EvaluateOptions): Promise<Evaluation> {
  asking.check("evaluate", options, { metrics: "any", max_new_tokens: "any", first: "any", count: "any", train: "object", signal: "signal" });
  const host = { ...asking, train: options.train ?? asking.train };
  if (host.active === null) {
    throw host.fail("bad-state", "no adapter is active, so there is nothing to compare the model with: train, or load an adapter");
  }
  const { metrics, first = 0, count } = options;
  const is_list = isList(given);
  checkPart(host, options, is_list);
  const rows = is_list ? given : (await host.stored("dataset_rows", { name: given.name, first, count: 1 })).map(({ row }) => row);
  const kind = metrics === undefined ? rows.map(kindOf).find((kind) => kind !== undefined) : "answers";
  if (rows.length === 0 || kind === undefined) throw host.fail("bad-data", noneLeft([]));
  const notices = [];
  if (!is_list && given.name === host.learnt) {
    const message = `the run has learnt from rows of "${given.name}", which it does better on than on others: evaluate with rows that were held out`;
    notices.push({ code: "rows-were-learnt", message });
  }
  if (kind === "answers") {
    return { ...(await answered(host, is_list ? { rows: given } : await placeOf(host, given.name, first, count), options)), notices };
  }
  const fits = (row: unknown) => kindOf(row) === kind;
  const texts: Texts = is_list ? { rows: given, fits } : { dataset: given.name, first, ...(count !== undefined && { count }) };
  const scores = await scored(host, texts, kind === "pairs" ? 2 : 1);
  if (scores.base.length === 0) throw host.fail("bad-data", noneLeft(scores.failed));
  return { ...(await (kind === "pairs" ? ranked : likelier)(host, scores)), notices };
}

/** What rows like this one are evaluated as; nothing of what is no row. */
function kindOf(row: unknown): Evaluation["kind"] | undefined {
  if (typeof row !== "object" || row === null) return undefined;
  return "answer" in row ? "answers" : "chosen" in row ? "pairs" : "text";
}

/** Throws `bad-option` for a part of a dataset that there cannot be. */
function checkPart({ fail }: EvaluationHost, { first, count }: EvaluateOptions, is_list: boolean): void {
  for (const [name, value] of Object.entries({ first, count })) {
    if (value === undefined) continue;
    if (is_list) throw fail("bad-option", `${name} is a part of a dataset: of a list, pass the rows that are meant`);
    if (!Number.isInteger(value) || value < 0) throw fail("bad-option", `${name} is ${value}, but must be a whole number of at least 0`);
  }
}

function isList(given: Given): given is readonly object[] {
  return Array.isArray(given);
}

async function placeOf(host: EvaluationHost, dataset: string, first: number, count: number | undefined) {
  const { rows } = await host.stored("dataset_info", { name: dataset });
  return { dataset, first, count: Math.max(0, Math.min(count ?? Infinity, rows - first)) };
}

const OF_TEXTS = ["loss", "perplexity", "mean_token_accuracy"] as const;

/** How likely the model finds texts. */
export async function likelier(host: EvaluationHost, { base, tuned, failed }: Scores): Promise<Omit<TextEvaluation, "notices">> {
  const flat = [base.flat(), tuned.flat()];
  const columns = flat.flatMap((scores) => [scores.map(({ logp }) => logp), scores.map(({ tokens }) => tokens), scores.map(({ hits }) => hits)]);
  const numbers = ([logp, tokens, hits]: readonly number[]) => {
    const loss = -logp! / tokens!;
    // Percentiles keep their places where numbers are raised to powers, so that this is the interval of the loss.
    return { loss, perplexity: Math.exp(loss), mean_token_accuracy: hits! / tokens! };
  };
  const statistics = (sums: readonly number[]) => differing(numbers(sums), numbers(sums.slice(3)));
  const intervals = await bootstrap(columns, statistics, { breathe: () => breathe(host) });
  const rows = base.length;
  const parts = compared(intervals, OF_TEXTS, rows, (name) => name === "mean_token_accuracy");
  return { kind: "text", rows, failed, judged_by: "loss", verdict: parts.difference.loss.verdict, ...parts };
}

const OF_PAIRS = ["accuracy", "margin"] as const;

/** How the model ranks pairs. */
async function ranked(host: EvaluationHost, { base, tuned, failed }: Scores): Promise<Omit<PairEvaluation, "notices">> {
  const margins = [base, tuned].map((pairs) => pairs.map(([chosen, rejected]) => chosen!.logp - rejected!.logp));
  const wins = base.map(([chosen], row) => Number(tuned[row]![0]!.logp > chosen!.logp));
  // A tie is wrong.
  const columns = [...margins.flatMap((margins) => [margins.map((margin) => Number(margin > 0)), margins]), wins];
  const statistics = (sums: readonly number[], rows: number) => {
    const [before, margin_before, after, margin_after, wins] = sums.map((sum) => sum / rows);
    const both = differing({ accuracy: before!, margin: margin_before! }, { accuracy: after!, margin: margin_after! });
    return { ...both, win_rate: wins! };
  };
  const intervals = await bootstrap<string>(columns, statistics, { breathe: () => breathe(host) });
  const rows = base.length;
  const parts = compared(intervals, OF_PAIRS, rows, () => true);
  const { verdict } = parts.difference.accuracy;
  return { kind: "pairs", rows, failed, judged_by: "accuracy", verdict, ...parts, win_rate: intervals["win_rate"]! };
}
