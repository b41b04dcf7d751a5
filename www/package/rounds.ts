import type { CallName, Calls } from "./protocol.js";
import type { Dataset } from "./dataset.js";
import type { EvalLog, LoraConfig, Plan, RunEvent, RunPolicy, StepLog } from "./types.js";
import type { checkDataset, checkOptions } from "./options.js";
import type { RunOptions } from "./trainer.js";

/** The method by which a trainer lets others make its steps: a file of its own would not see what is private. */
export const ROUNDS: unique symbol = Symbol.for("tabtune.rounds") as never;

/** What rounds of learning together ask of the trainer whose model learns. */
export interface RoundsHost {
  version: string;
  /** What the model is called, if it came from a hub or an address. */
  base: string | undefined;
  lora: LoraConfig | undefined;
  check: typeof checkOptions;
  checkDataset: typeof checkDataset;
  prepare(dataset: Dataset, eval_dataset: Dataset | undefined, options: RunOptions): Promise<Plan>;
  ask<C extends CallName>(call: C, args: Calls[C]["args"], options?: AskOptions<C>): Promise<Calls[C]["result"]>;
  /** Makes the steps of the prepared run up to `end`, as {@link Trainer.train} makes them. */
  steps(end: number, options: StepsOptions): AsyncGenerator<StepLog | EvalLog, void, undefined>;
  /** The prepared run begins its next steps after `step`, whatever was told of it. */
  begunAt(step: number): void;
  /** No further round comes: other tabs may have the run. */
  end(): Promise<void>;
  /** Waits for a connection that the policy allows, and tells `on_wait` why where there is none. */
  unmetered(address: string, policy: StepsOptions["policy"], on_wait: (why: string) => void, signal: AbortSignal | undefined): Promise<void>;
}

export interface AskOptions<C extends CallName> {
  report?: (event: Calls[C]["event"]) => void;
  signal?: AbortSignal | undefined;
}

export interface StepsOptions {
  policy: Partial<RunPolicy> | false | undefined;
  on_event: ((event: RunEvent) => void) | undefined;
  signal: AbortSignal | undefined;
}
