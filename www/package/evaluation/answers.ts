import type { Prompt } from "../types.js";
import { bootstrap, compared, differing } from "./bootstrap.js";
import { breathe, progressOf, reasonOf, type EvaluationHost } from "./host.js";
import { exactMatch, f1 } from "./squad.js";
import type { AnsweredQuestion, AnsweredRow, AnswerEvaluation, EvaluateOptions, FailedRow, Metric } from "./types.js";

/** Rows of a dataset that are read at once. */
const PAGE_ROWS = 100;

/** A metric by its name. */
interface Measure {
  name: string;
  of(text: string, row: AnsweredRow, answers: string[]): number | boolean | Promise<number | boolean>;
}

/** A row that was read, or why it is no question. */
type Question = { row: AnsweredRow; answers: string[] } | { reason: string };

/** Asks all questions with what was learnt and without, and measures the answers. */
export async function answered(
  host: EvaluationHost,
  given: { dataset: string; first: number; count: number } | { rows: readonly unknown[] },
  { metrics = ["exact_match", "f1"], max_new_tokens = 128 }: EvaluateOptions,
): Promise<Omit<AnswerEvaluation, "notices">> {
  const measures = measuresOf(host, metrics);
  const total = "dataset" in given ? given.count : given.rows.length;
  const first = "dataset" in given ? given.first : 0;
  const tell = progressOf(host.report, "dataset" in given ? given.dataset : "");
  const answers: AnsweredQuestion[] = [];
  const failed: FailedRow[] = [];
  let done = 0;
  tell(done, total);
  for await (const found of questionsOf(host, given)) {
    const place = first + done;
    try {
      if ("reason" in found) throw host.fail("bad-data", found.reason);
      const { prompt } = found.row;
      const look = async (adapter: boolean) => {
        const options = { adapter, max_new_tokens, temperature: 0 };
        const { text } = await host.ask("generate", { prompt, options });
        return { text, scores: await scoresOf(host, measures, text, found) };
      };
      answers.push({ row: place, prompt, base: await look(false), tuned: await look(true) });
    } catch (thrown) {
      const reason = reasonOf(thrown);
      if (reason === undefined) throw thrown;
      failed.push({ row: place, reason });
    }
    tell(++done, total);
  }
  const rows = answers.length;
  if (rows === 0) throw host.fail("bad-data", noneLeft(failed));
  const names = measures.map(({ name }) => name);
  const columns = (["base", "tuned"] as const).flatMap((part) => names.map((name) => answers.map((one) => one[part].scores[name]!)));
  const means = (sums: readonly number[], from: number, rows: number) => {
    return Object.fromEntries(names.map((name, index) => [name, sums[from + index]! / rows]));
  };
  const statistics = (sums: readonly number[], rows: number) => differing(means(sums, 0, rows), means(sums, names.length, rows));
  const intervals = await bootstrap(columns, statistics, { breathe: () => breathe(host) });
  const parts = compared(intervals, names, rows, () => true);
  const judged_by = names[0]!;
  return { kind: "answers", rows, failed, judged_by, verdict: parts.difference[judged_by]!.verdict, ...parts, answers };
}

/** What is said where no row could be evaluated. */
export function noneLeft(failed: readonly FailedRow[]): string {
  const why = failed[0] ? `: row ${failed[0].row}: ${failed[0].reason}` : ", because there is none";
  return `none of the rows could be evaluated${why}`;
}

async function scoresOf(host: EvaluationHost, measures: Measure[], text: string, { row, answers }: { row: AnsweredRow; answers: string[] }) {
  const scores: Record<string, number> = {};
  for (const { name, of } of measures) {
    let score: unknown;
    try {
      score = Number(await of(text, row, answers));
    } catch (thrown) {
      throw host.fail("bad-data", `the metric "${name}" threw: ${String(thrown)}`);
    }
    if (!Number.isFinite(score)) throw host.fail("bad-data", `the metric "${name}" told ${String(score)}, which is no finite number`);
    scores[name] = score as number;
  }
  return scores;
}

/** The metrics that are asked for; throws `bad-option` for what is none. */
function measuresOf({ fail }: EvaluationHost, metrics: Metric[]): Measure[] {
  if (!Array.isArray(metrics) || metrics.length === 0) throw fail("bad-option", "metrics must be a list with at least one metric");
  const measures = metrics.map((metric, index): Measure => {
    if (metric === "exact_match") return { name: metric, of: (text, _row, answers) => exactMatch(text, answers) };
    if (metric === "f1") return { name: metric, of: (text, _row, answers) => f1(text, answers) };
    if (typeof metric === "function") return { name: metric.name || `metric ${index + 1}`, of: metric };
    if (typeof metric === "object" && typeof metric?.name === "string" && Object.prototype.toString.call(metric.pattern) === "[object RegExp]") {
      // A search begins at the start of a text, wherever a global pattern has come to.
      return { name: metric.name, of: (text) => text.search(metric.pattern) >= 0 };
    }
    throw fail("bad-option", `metrics has ${JSON.stringify(metric)}, but takes "exact_match", "f1", { name, pattern } and functions`);
  });
  const twice = measures.find(({ name }, index) => measures.findIndex((other) => other.name === name) < index);
  if (twice) throw fail("bad-option", `metrics has "${twice.name}" twice`);
  return measures;
}

async function* questionsOf(
  host: EvaluationHost,
  given: { dataset: string; first: number; count: number } | { rows: readonly unknown[] },
): AsyncGenerator<Question, void, undefined> {
  if ("rows" in given) {
    for (const row of given.rows) yield questionOf(row);
    return;
  }
  for (let done = 0; done < given.count; done += PAGE_ROWS) {
    const count = Math.min(PAGE_ROWS, given.count - done);
    const rows = await host.stored("dataset_rows", { name: given.dataset, first: given.first + done, count });
    for (const { row } of rows) yield questionOf(row);
  }
}

/** A row as a question: as it was given, or of a dataset its prompt and completion, or a chat up to its last turn. */
function questionOf(given: unknown): Question {
  const row = (typeof given === "object" && given !== null ? given : {}) as Record<string, unknown>;
  const { messages } = row;
  const [prompt, answer] = Array.isArray(messages) ? [messages.slice(0, -1), messages.slice(-1)] : [row["prompt"], row["answer"] ?? row["completion"]];
  if (prompt === undefined || answer === undefined) return { reason: "has no prompt with an answer" };
  if (Array.isArray(messages) && messages.at(-1)?.role !== "assistant") return { reason: "its last turn is not the assistant's" };
  const answers = (Array.isArray(answer) ? answer : [answer]).map((one) => (typeof one === "object" ? one?.content : one));
  if (answers.length === 0 || !answers.every((one) => typeof one === "string")) return { reason: "its answer is no text" };
  return { row: { ...row, prompt: prompt as Prompt, answer: answers.length === 1 ? answers[0]! : answers }, answers };
}
