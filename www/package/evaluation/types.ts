import type { Notice, Prompt, TrainConfig } from "../types.js";

/** A number with the interval that it lies in with a confidence of 95 %. */
export interface Interval {
  value: number;
  low: number;
  high: number;
}

/**
 * What an interval of a difference says: "better" or "worse" where all of it lies on one side of zero, and "undecided" where
 * it does not, or where there are fewer than five rows.
 */
export type Verdict = "better" | "worse" | "undecided";

/** What a number is with what was learnt, less what it is without. */
export interface Difference extends Interval {
  verdict: Verdict;
}

/** A row that could not be evaluated. */
export interface FailedRow {
  /** Its place among the rows, counted from zero. */
  row: number;
  reason: string;
}

/** A question and its answer, or several answers that are right. */
export interface AnsweredRow {
  /** A text is continued as it stands, and turns are asked as a chat. */
  prompt: Prompt;
  answer: string | string[];
  /** Whatever else a metric of your own looks at. */
  [field: string]: unknown;
}

/**
 * What an answer of the model is measured by; more is better. "exact_match" and "f1" are SQuAD's. A pattern counts where it
 * matches the answer. A function tells a number of its own, and is called by its name.
 */
export type Metric =
  | "exact_match"
  | "f1"
  | { name: string; pattern: RegExp }
  | ((text: string, row: AnsweredRow) => number | boolean | Promise<number | boolean>);

/** How {@link Trainer.evaluate} looks at rows. */
export interface EvaluateOptions {
  /**
   * What answers are measured by. Given, rows are questions to be answered, of a dataset too: what is asked is the prompt of a
   * row, or its turns up to the last. Left out, only rows with an `answer` are, by "exact_match" and "f1".
   */
  metrics?: Metric[];
  /** Of questions: how long an answer may be, in tokens. Default 128. */
  max_new_tokens?: number;
  /** Of a dataset: the first row that is looked at. Default 0. */
  first?: number;
  /** Of a dataset: how many rows are looked at. Left out: all from there on. */
  count?: number;
  /**
   * Of texts: how they are read, by `assistant_only_loss`, `completion_only_loss` and `max_length`. Default: as the run that is
   * prepared reads them, or as the options of {@link Trainer.load} say. An adapter that was opened does not say how its rows were.
   */
  train?: TrainConfig;
  /** Ends it as `cancelled`. */
  signal?: AbortSignal;
}

/** What all evaluations tell. */
export interface Compared {
  /** Rows that were evaluated. */
  rows: number;
  /** Rows that could not be. */
  failed: FailedRow[];
  /** The number that decides. */
  judged_by: string;
  /** What its difference says. */
  verdict: Verdict;
  /** What is worth knowing, e.g. "rows-were-learnt". */
  notices: Notice[];
}

/** How likely the model finds texts, before and after. */
export interface TextEvaluation extends Compared {
  kind: "text";
  /** The model as it was loaded: `loss` in nats a token, `perplexity`, and the share of tokens that it would have written itself. */
  base: Record<"loss" | "perplexity" | "mean_token_accuracy", Interval>;
  /** The same with what was learnt. */
  tuned: Record<"loss" | "perplexity" | "mean_token_accuracy", Interval>;
  /** Of loss and perplexity, less is better. */
  difference: Record<"loss" | "perplexity" | "mean_token_accuracy", Difference>;
}

/** How the model ranks pairs of answers, before and after. */
export interface PairEvaluation extends Compared {
  kind: "pairs";
  /**
   * The model as it was loaded: `accuracy` is the share of pairs whose chosen answer is likelier than the rejected one, `margin`
   * by how many nats it is.
   */
  base: Record<"accuracy" | "margin", Interval>;
  /** The same with what was learnt. */
  tuned: Record<"accuracy" | "margin", Interval>;
  difference: Record<"accuracy" | "margin", Difference>;
  /** The share of chosen answers that became likelier. */
  win_rate: Interval;
}

/** How the model answers questions, before and after. */
export interface AnswerEvaluation extends Compared {
  kind: "answers";
  /** The model as it was loaded: the mean of each metric, by its name. */
  base: Record<string, Interval>;
  /** The same with what was learnt. */
  tuned: Record<string, Interval>;
  difference: Record<string, Difference>;
  /** What was answered. */
  answers: AnsweredQuestion[];
}

/** A question with both answers, and what each metric says of them. */
export interface AnsweredQuestion {
  /** Its place among the rows, counted from zero. */
  row: number;
  prompt: Prompt;
  base: { text: string; scores: Record<string, number> };
  tuned: { text: string; scores: Record<string, number> };
}

/** Whether a model is better than before, by what its rows are. */
export type Evaluation = TextEvaluation | PairEvaluation | AnswerEvaluation;

/** How {@link Trainer.forgetting} looks at a model. */
export interface ForgettingOptions {
  /** Texts of your own, in the language that the model knows. Default: some 1,200 words of plain English about everyday things. */
  texts?: string[];
  /** Ends it as `cancelled`. */
  signal?: AbortSignal;
}

/** Whether a model has forgotten what it knew: how likely it finds a text that has nothing to do with what it learnt. */
export interface Forgetting {
  /** The perplexity of the model as it was loaded. */
  before: Interval;
  /** The same with what was learnt. */
  after: Interval;
  /** How much higher it is, as a share: 0.5 is half as much again. Below zero it fell. */
  rose_by: Interval;
  /** Whether it rose by more than a third. */
  has_forgotten: boolean;
  /** The same for people. */
  sentence: string;
}

/** What a prompt was answered during a run. */
export interface Sample {
  prompt: Prompt;
  text: string;
}

/** All prompts as they were answered after a step. */
export interface SampledStep {
  /** 0 is the model as it was loaded. */
  step: number;
  samples: Sample[];
}

/** What a run's prompts were answered as it went. */
export interface SampleGrid {
  prompts: Prompt[];
  /** In rising order; 0 is the model as it was loaded. */
  steps: number[];
  /** By prompt and then by step; null where a prompt was not asked then. */
  texts: (string | null)[][];
}

/** An evaluation that no other one of its run was better than. */
export interface BestModel {
  step: number;
  /** What it was chosen by, e.g. "eval_loss". */
  metric: string;
  value: number;
}

/** How a run ended. */
export interface RunOutcome {
  /** Whether it made all of its steps. */
  ended: "finished" | "early-stopped";
  /** The same for people. */
  reason: string;
  /** The last step that was made. */
  step: number;
  /** The best evaluation; left out where there was none. */
  best?: BestModel;
  /** Whether the model is as it was then, rather than after the last step. */
  is_best_loaded: boolean;
}
