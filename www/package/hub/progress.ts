import type { Job } from "./job.js";

const PERIOD_MS = 100;

/** Reports one file in transformers.js's shape, at most ten times a second. */
export class Progress {
  readonly #job: Pick<Job, "name" | "report">;
  readonly #file: string;
  #total: number | undefined;
  #loaded = 0;
  #begun = false;
  #told_at = -Infinity;

  constructor(job: Pick<Job, "name" | "report">, file: string, total?: number) {
    this.#job = job;
    this.#file = file;
    this.#total = total;
  }

  /** Says that a download begins. What came from the cache alone reports nothing but its end. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#report("initiate");
    this.#report("download");
  }

  /** Counts bytes that are there now. */
  add(bytes: number): void {
    this.#loaded += bytes;
    const now = performance.now();
    if (!this.#begun || now - this.#told_at < PERIOD_MS) return;
    this.#told_at = now;
    this.#tell();
  }

  /** Starts counting anew, for a file of `total` bytes if that is known. */
  restart(total: number | undefined): void {
    this.#loaded = 0;
    this.#total = total;
  }

  done(): void {
    if (this.#begun) this.#tell();
    this.#report("done");
  }

  #tell(): void {
    const loaded = this.#loaded;
    const total = this.#total;
    const share = total === undefined ? {} : { total, progress: total ? (100 * loaded) / total : 100 };
    this.#report("progress", { loaded, ...share });
  }

  #report(status: string, counts: { loaded?: number; total?: number; progress?: number } = {}): void {
    this.#job.report({ status, name: this.#job.name, file: this.#file, ...counts });
  }
}
