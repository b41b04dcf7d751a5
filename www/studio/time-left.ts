import type { StepLog } from "tabtune";

/** How long a run will still take, its evaluations included, which the engine's own figure leaves out. */
export class TimeLeft {
  readonly #eval_steps: number;
  readonly #has_heldout: boolean;
  #seconds = 0;
  #evaluations = 0;

  /** There is an evaluation after every `eval_steps` steps and after the last, where rows are held out. */
  constructor(eval_steps: number, has_heldout: boolean) {
    this.#eval_steps = eval_steps;
    this.#has_heldout = has_heldout;
  }

  /** An evaluation took so many seconds. */
  evaluated(seconds: number): void {
    this.#seconds += seconds;
    this.#evaluations += 1;
  }

  /** In seconds, once that step is done. */
  after({ step, total_steps, remaining_seconds }: Pick<StepLog, "step" | "total_steps" | "remaining_seconds">): number {
    if (!this.#has_heldout || this.#evaluations === 0) return remaining_seconds;
    // That of this very step is still to come, if it has one.
    const to_come = Math.ceil(total_steps / this.#eval_steps) - Math.floor((step - 1) / this.#eval_steps);
    return remaining_seconds + (to_come * this.#seconds) / this.#evaluations;
  }
}
