import type { Post, WorkerLike, Word } from "./cpu/team.js";
import type { KernelsAnswer, KernelsWish } from "./protocol.js";

/** A worker that the page has for the engine: see {@link KernelWorkers}. */
export class PageWorker implements WorkerLike {
  static readonly #all = new Map<number, PageWorker>();
  static #next = 0;
  onmessage: ((event: MessageEvent<Word>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;
  readonly #kernels = PageWorker.#next++;
  readonly #wish: (wish: KernelsWish) => void;

  constructor(wish: (wish: KernelsWish) => void) {
    this.#wish = wish;
    PageWorker.#all.set(this.#kernels, this);
  }

  postMessage(post: Post): void {
    this.#wish({ kernels: this.#kernels, post });
  }

  terminate(): void {
    PageWorker.#all.delete(this.#kernels);
    this.#wish({ kernels: this.#kernels });
  }

  /** Hands on what the page tells of a worker. */
  static receive(answer: KernelsAnswer): void {
    const worker = PageWorker.#all.get(answer.kernels);
    if ("word" in answer) worker?.onmessage?.(new MessageEvent("message", { data: answer.word }));
    else worker?.onerror?.(new ErrorEvent("error", { message: answer.error }));
  }
}
