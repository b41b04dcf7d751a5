import type { failure } from "../errors.js";
import type { checkOptions } from "../options.js";
import type { CallName, Calls } from "../protocol.js";
import type { stored } from "../shared.js";
import type { EvalLog, ProgressCallback, RunEvent } from "../types.js";
import type { RunOutcome, SampledStep } from "./types.js";

/** What evaluations have of the page: a file of its own would have errors of another class, and a library of its own. */
export interface Page {
  stored: typeof stored;
  fail: typeof failure;
  check: typeof checkOptions;
}

/** What an evaluation asks of the trainer whose model it looks at. */
export interface EvaluationHost extends Page {
  /** Asks the engine with the model. */
  ask<C extends CallName>(call: C, args: Calls[C]["args"], report?: (event: Calls[C]["event"]) => void): Promise<Calls[C]["result"]>;
  /** How rows are tokenised. */
  train: Calls["score"]["args"]["train"];
  /** The dataset that the prepared run learns from. */
  learnt: string | undefined;
  /** The adapter that takes part in answers. */
  active: string | null;
  report: ProgressCallback;
  signal: AbortSignal | undefined;
}

/** Tells of something that happened to a run. */
export type Tell = (event: Omit<RunEvent, "time" | "step">) => void;

/** What a run's {@link Companion} asks of the trainer. */
export interface CompanionHost {
  ask<C extends CallName>(call: C, args: Calls[C]["args"]): Promise<Calls[C]["result"]>;
  /** The adapter that takes part in answers. */
  active(): string | null;
}

/** What a run does beside its steps, where its options ask for more. */
export interface Companion {
  /** How the run ended, once it has. */
  readonly outcome: RunOutcome | undefined;
  /** What prompts were answered so far. */
  readonly sampled: readonly SampledStep[];
  /** Whether something comes after a step for which the device must not have the next one. */
  waits(step: number): boolean;
  /** Does what comes after a step; done before, it is not done again. */
  between(host: CompanionHost, step: number, tell: Tell): Promise<void>;
  evaluated(line: EvalLog): void;
  /** What came after that step is undone. */
  rewound(step: number): void;
  /** Whether the run ends before its last step. */
  readonly stops: boolean;
  /** Does what comes at the run's end. */
  end(host: CompanionHost, step: number, tell: Tell): Promise<void>;
}

/** Lets the page do something else, and throws where the caller wants to stop. */
export async function breathe({ signal, fail }: EvaluationHost): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  if (signal?.aborted) throw fail("cancelled", "the caller asked to stop");
}

/** Tells of rows as they are done, and how long the others will take at the speed so far. */
export function progressOf(report: ProgressCallback, name: string): (done: number, total: number) => void {
  const began = performance.now();
  return (done, total) => {
    const per_row = done > 0 ? (performance.now() - began) / done / 1000 : 0;
    report({
      status: "evaluate",
      name,
      file: "",
      loaded: done,
      total,
      progress: total === 0 ? 100 : (100 * done) / total,
      rows: done,
      remaining_seconds: per_row * (total - done),
    });
  };
}

/** Why a row could not be evaluated, where that is for the row's own sake. */
export function reasonOf(thrown: unknown): string | undefined {
  const { code, message } = thrown as { code?: unknown; message: string };
  return typeof code === "string" && OF_ROWS.includes(code) ? message : undefined;
}

const OF_ROWS: readonly string[] = ["bad-data", "not-finite"];
