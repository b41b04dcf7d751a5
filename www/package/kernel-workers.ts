import type { WorkerLike } from "./cpu/team.js";
import type { KernelsAnswer, KernelsWish } from "./protocol.js";

/** A worker that runs kernels. Bundlers copy the file that is named like this. */
export function newKernelWorker(): WorkerLike {
  return new Worker(new URL("./kernel-worker.js", import.meta.url), { type: "module", name: "tabtune-kernels" });
}

/**
 * The workers that an engine has run kernels. They are the page's, because a worker of Firefox may never come back from
 * making another one: it waits for a signal there that the new thread can take for its own.
 */
export class KernelWorkers {
  readonly #workers = new Map<number, WorkerLike>();
  readonly #answer: (answer: KernelsAnswer) => void;

  constructor(answer: (answer: KernelsAnswer) => void) {
    this.#answer = answer;
  }

  /** Starts the worker that the engine knows by a number, or ends it. */
  do({ kernels, post }: KernelsWish): void {
    if (!post) {
      this.#workers.get(kernels)?.terminate();
      this.#workers.delete(kernels);
      return;
    }
    const worker = newKernelWorker();
    this.#workers.set(kernels, worker);
    worker.onmessage = ({ data }) => this.#answer({ kernels, word: data });
    worker.onerror = ({ message }) => this.#answer({ kernels, error: message });
    worker.postMessage(post);
  }

  end(): void {
    for (const worker of this.#workers.values()) worker.terminate();
    this.#workers.clear();
  }
}
