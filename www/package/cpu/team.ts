import { failure } from "../errors.js";
import { VERSION } from "../protocol.js";
import type { Crew, Listener } from "./crew.js";
import type { Heap } from "./heap.js";
import { STACK_BYTES, type Kernels } from "./kernels.js";

/** The lists that workers have at hand: their number ever started or {@link STOP}, and each at its number modulo the length. */
export const RING_LISTS = 64;
export const RING_WORDS = 1 + 2 * RING_LISTS;

/** In place of the number started: workers are to end. */
export const STOP = -1;

/** What the engine gives a worker, once. */
export interface Post {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  worker: number;
  workers: number;
  /** What all workers share, by address: see the module's Control, and {@link RING_WORDS}. */
  control: number;
  ring: number;
  /** What is the worker's own. */
  stack: number;
  scratch: number;
}

/** What a worker tells: that it is ready, how many lists are through, or that it can do no more. */
export type Word = { version: string; lock: string } | { finished: number } | { failed: string };

/** The part of a Worker that is used here. */
export interface WorkerLike {
  onmessage: ((event: MessageEvent<Word>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  postMessage(message: Post): void;
  terminate(): void;
}

/** Workers that share the memory. They find lists in a ring there, so that a list waits for no message. */
export class Team implements Crew {
  readonly workers: number;
  readonly #members: WorkerLike[] = [];
  readonly #make: () => WorkerLike;
  readonly #posts: Post[];
  readonly #ring: Int32Array;
  /** Has workers leave the list in hand. */
  readonly #stop: () => void;
  readonly #listener: Listener;
  readonly #closed = new AbortController();
  #started = 0;
  #finished = 0;

  /** Lays out what so many workers compute in, which `make` makes once they are to begin. */
  constructor(
    workers: number,
    make: () => WorkerLike,
    parts: { module: WebAssembly.Module; memory: WebAssembly.Memory; kernels: Kernels; heap: Heap; listener: Listener },
  ) {
    const { module, memory, kernels, heap, listener } = parts;
    const ring = heap.allocate(4 * RING_WORDS).address;
    const control = heap.allocate(kernels.control_bytes()).address;
    this.workers = workers;
    this.#make = make;
    this.#ring = new Int32Array(heap.buffer, ring, RING_WORDS);
    this.#listener = listener;
    this.#stop = () => kernels.stop(control);
    this.#posts = Array.from({ length: workers }, (_, worker): Post => {
      const stack = heap.allocate(STACK_BYTES).address + STACK_BYTES;
      const scratch = heap.allocate(kernels.scratch_bytes()).address;
      return { module, memory, worker, workers, control, ring, stack, scratch };
    });
  }

  /** Resolves when all workers are ready. */
  async begin(): Promise<void> {
    try {
      await Promise.all(this.#posts.map((post) => this.#join(this.#make(), post)));
    } catch (thrown) {
      this.close();
      throw thrown;
    }
  }

  get idle(): boolean {
    return this.#finished === this.#started;
  }

  start(list: number, count: number): boolean {
    if (this.#started - this.#finished === RING_LISTS) return false;
    const at = 1 + 2 * (this.#started % RING_LISTS);
    this.#ring[at] = list;
    this.#ring[at + 1] = count;
    this.#started += 1;
    this.#signal(this.#started);
    return true;
  }

  close(): void {
    this.#closed.abort();
    // Chromium lets a worker that waits or computes go on for two seconds, and its memory stay for as long.
    this.#signal(STOP);
    this.#stop();
    for (const member of this.#members) member.terminate();
  }

  #signal(started: number): void {
    Atomics.store(this.#ring, 0, started);
    Atomics.notify(this.#ring, 0);
  }

  /** Sends a worker its post and waits until it is there. Whatever ends one later ends the work of all. */
  #join(worker: WorkerLike, post: Post): Promise<void> {
    this.#members.push(worker);
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        reject(error);
        this.#listener.failed(error);
      };
      worker.onmessage = ({ data }) => {
        if ("finished" in data) {
          this.#finished = data.finished;
          this.#listener.finished();
        } else if ("failed" in data) {
          fail(failure("device-lost", data.failed));
        } else if (data.version !== VERSION) {
          fail(failure("bad-state", `the engine is of tabtune ${VERSION} but its kernels of ${data.version}; reload the page`));
        } else {
          resolve();
          const gone = () => fail(failure("device-lost", "the browser ended it"));
          // No event tells of a worker that ends without a word, but its lock is then free.
          navigator.locks?.request(data.lock, { signal: this.#closed.signal }, gone).catch(() => {});
        }
      };
      worker.onerror = ({ message }) => fail(failure(message ? "internal" : "io", message || "its script could not be loaded"));
      worker.postMessage(post);
    });
  }
}
