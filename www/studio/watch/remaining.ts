import type { EvalLog, StepLog } from "tabtune";

/** After how many steps a run measures its held-out rows, and asks its questions. */
export interface Pauses {
  eval_steps: number | undefined;
  sample_steps: number | undefined;
}

/** What a pause took, in all and how often. */
interface Taken {
  seconds: number;
  times: number;
}

/** The time that is left to a run, with what it does between its steps. */
export class Remaining {
  readonly #pauses: Pauses;
  readonly #now: () => number;
  readonly #evaluations: Taken = { seconds: 0, times: 0 };
  readonly #samples: Taken = { seconds: 0, times: 0 };
  /** When something was last heard of the run, in milliseconds. */
  #heard: number | undefined;

  constructor(pauses: Pauses, now: () => number = () => performance.now()) {
    this.#pauses = pauses;
    this.#now = now;
  }

  /** A line of the run's log, as it comes. */
  line(line: StepLog | EvalLog): void {
    if ("eval_loss" in line) this.#took(this.#evaluations);
    this.#heard = this.#now();
  }

  /** Its questions were answered. */
  sampled(): void {
    this.#took(this.#samples);
    this.#heard = this.#now();
  }

  /** It waited, which is nothing of its own. */
  waited(): void {
    this.#heard = undefined;
  }

  /** In seconds. */
  after({ step, total_steps, remaining_seconds }: Pick<StepLog, "step" | "total_steps" | "remaining_seconds">): number {
    const left = (every: number | undefined) => (every ? Math.floor(total_steps / every) - Math.floor(step / every) : 0);
    const { eval_steps, sample_steps } = this.#pauses;
    return remaining_seconds + left(eval_steps) * meanOf(this.#evaluations) + left(sample_steps) * meanOf(this.#samples);
  }

  #took(taken: Taken): void {
    if (this.#heard === undefined) return;
    taken.seconds += (this.#now() - this.#heard) / 1000;
    taken.times++;
  }
}

const meanOf = ({ seconds, times }: Taken) => (times === 0 ? 0 : seconds / times);
