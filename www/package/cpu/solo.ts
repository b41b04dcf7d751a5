import type { Crew, Listener } from "./crew.js";
import type { Heap } from "./heap.js";
import type { Kernels } from "./kernels.js";

/** Between slices the thread hears what the page wants. */
const SLICE_MILLIS = 20;

/** Works on the engine's own thread and the module's own stack, a slice at a time: what there is without shared memory. */
export class Solo implements Crew {
  readonly workers = 1;
  readonly #kernels: Kernels;
  /** How far the list in hand has come: see the module's Cursor. */
  readonly #cursor: Int32Array;
  readonly #scratch: number;
  readonly #lists: { list: number; count: number }[] = [];
  readonly #listener: Listener;
  /** Whether a slice is to come or goes on. */
  #has_turn = false;
  /** A message to oneself comes after those that wait already, and at once where there are none. */
  readonly #turns = new MessageChannel();

  constructor(kernels: Kernels, heap: Heap, listener: Listener) {
    this.#kernels = kernels;
    this.#cursor = new Int32Array(heap.buffer, heap.allocate(8).address, 2);
    this.#scratch = heap.allocate(kernels.scratch_bytes()).address;
    this.#listener = listener;
    this.#turns.port1.onmessage = () => this.#slice();
  }

  get idle(): boolean {
    return this.#lists.length === 0;
  }

  async begin(): Promise<void> {}

  start(list: number, count: number): boolean {
    this.#lists.push({ list, count });
    if (!this.#has_turn) this.#takeTurn();
    return true;
  }

  close(): void {
    this.#lists.length = 0;
    this.#turns.port1.close();
  }

  #takeTurn(): void {
    this.#has_turn = true;
    this.#turns.port2.postMessage(undefined);
  }

  #slice(): void {
    const until = performance.now() + SLICE_MILLIS;
    try {
      while (this.#lists.length > 0 && this.#goesOn(until)) {}
    } catch (thrown) {
      this.#listener.failed(thrown);
      return;
    }
    this.#has_turn = false;
    if (this.#lists.length > 0) this.#takeTurn();
  }

  /** Works on the first list, and tells whether there is time for another. */
  #goesOn(until: number): boolean {
    const { list, count } = this.#lists[0]!;
    if (!this.#kernels.advance(list, count, this.#cursor.byteOffset, until, this.#scratch)) return false;
    this.#cursor.fill(0);
    this.#lists.shift();
    this.#listener.finished();
    return performance.now() < until;
  }
}
