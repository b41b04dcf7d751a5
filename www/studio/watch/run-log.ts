import type { StepLog } from "tabtune";
import { Columns } from "./columns.js";

/** What the horizontal axis can count. */
export type Across = "steps" | "seconds" | "tokens";

/** What is kept of each step. */
export const METRICS = ["seconds", "tokens", "loss", "heldout", "learning_rate", "grad_norm", "tokens_per_second", "memory"] as const;
export type Metric = (typeof METRICS)[number];

/** Rows that a log has at most. A curve on a screen is not finer than that. */
export const MOST_ROWS = 20_000;

/** What the steps of a run told, thinned where there are very many of them. */
export class RunLog {
  /** Steps of the whole run. */
  total: number;
  readonly #most: number;
  readonly #columns = new Columns(METRICS.length);
  /** Of steps without a measurement one in so many is kept. */
  #every = 1;

  constructor(total: number, most = MOST_ROWS) {
    this.total = total;
    this.#most = most;
  }

  get steps(): number[] {
    return this.#columns.steps;
  }

  get every(): number {
    return this.#every;
  }

  /** A column by its name; by step it has null where nothing is known. */
  column(metric: Metric): (number | null)[] {
    return this.#columns.values[METRICS.indexOf(metric)]!;
  }

  /** What the horizontal axis counts, as numbers that do not fall. */
  across(across: Across): number[] {
    if (across === "steps") return this.steps;
    // What is measured before the first step took none of either.
    let last = 0;
    return this.column(across).map((value) => (last = value ?? last));
  }

  /** The step that a line of the log stands for: the last one that counts, where the run went back. */
  add(log: StepLog): void {
    const step = log.rewound_to ?? log.step;
    const seconds = (this.#last("seconds") ?? 0) + log.step_millis / 1000;
    const values: [Metric, number][] = [["seconds", seconds], ["tokens", log.num_tokens], ["tokens_per_second", log.tokens_per_second], ["memory", log.peak_gpu_bytes]];
    // What is not finite did not count, and has no place on a curve.
    if (!log.skipped) values.push(["loss", log.loss], ["learning_rate", log.learning_rate], ["grad_norm", log.grad_norm]);
    for (const [metric, value] of values) if (Number.isFinite(value)) this.#set(metric, step, value);
    if (log.rewound_to !== undefined) this.#columns.goBack(step);
    this.#thin();
  }

  addHeldout(step: number, loss: number): void {
    this.#set("heldout", step, loss);
  }

  /** Fills an empty log with rows that were kept. */
  fill(steps: ArrayLike<number>, every: number, columns: Partial<Record<Metric, ArrayLike<number>>>): void {
    this.#every = every;
    for (let row = 0; row < steps.length; row++) {
      for (const metric of METRICS) {
        const value = columns[metric]?.[row];
        if (value !== undefined && Number.isFinite(value)) this.#set(metric, steps[row]!, value);
      }
    }
  }

  #set(metric: Metric, step: number, value: number): void {
    this.#columns.set(METRICS.indexOf(metric), step, value);
  }

  #last(metric: Metric): number | undefined {
    return this.column(metric).findLast((value) => value !== null) ?? undefined;
  }

  /** The last row stays until the next one comes, so that a curve reaches as far as the run. */
  #thin(): void {
    const { steps } = this;
    const before = steps.length - 2;
    if (before >= 0 && !this.#stays(before)) this.#columns.drop(before);
    while (steps.length > this.#most) {
      const { length } = steps;
      this.#every *= 2;
      this.#columns.keep((place) => place === steps.length - 1 || this.#stays(place));
      // What stays are measurements, of which there are few.
      if (steps.length === length) break;
    }
  }

  #stays(place: number): boolean {
    return this.steps[place]! % this.#every === 0 || this.column("heldout")[place] !== null;
  }
}
