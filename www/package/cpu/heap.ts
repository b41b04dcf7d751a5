import { failure } from "../errors.js";

const PAGE_BYTES = 65536;
/** A line of the cache, so that no two workers write the same one in different allocations. */
const ALIGNMENT = 64;

interface Block {
  start: number;
  end: number;
}

const rounded = (bytes: number, to: number) => Math.ceil(bytes / to) * to;

/** Hands out parts of a memory, which grows as needed. */
export class Heap {
  readonly #memory: WebAssembly.Memory;
  /** All of the memory, as of its last growth. */
  buffer: ArrayBufferLike;
  /** In order of address; no two of them touch. */
  readonly #free: Block[] = [];
  /** What lies above was never handed out, and is zero. */
  #touched: number;

  /** The bytes that are handed out now, and those below the heap. */
  taken: number;

  /** All of the memory from `start` on is its own. */
  constructor(memory: WebAssembly.Memory, start: number) {
    this.#memory = memory;
    this.buffer = memory.buffer;
    this.#touched = rounded(start, ALIGNMENT);
    this.taken = this.#touched;
    this.#free.push({ start: this.#touched, end: this.buffer.byteLength });
  }

  /** The address of so many bytes, aligned to 64, and how many from there on may not be zero. */
  allocate(bytes: number): { address: number; used: number } {
    const size = rounded(Math.max(bytes, 1), ALIGNMENT);
    const block = this.#smallest(size) ?? this.#grown(size);
    const address = block.start;
    this.taken += size;
    block.start += size;
    if (block.start === block.end) this.#free.splice(this.#free.indexOf(block), 1);
    const used = Math.max(0, Math.min(this.#touched, address + size) - address);
    this.#touched = Math.max(this.#touched, address + size);
    return { address, used };
  }

  /** Takes back what {@link allocate} gave for so many bytes. */
  free(address: number, bytes: number): void {
    const start = address;
    const end = address + rounded(Math.max(bytes, 1), ALIGNMENT);
    this.taken -= end - start;
    const found = this.#free.findIndex((block) => block.start >= end);
    const index = found < 0 ? this.#free.length : found;
    const before = this.#free[index - 1];
    const after = this.#free[index];
    const touches_after = after?.start === end;
    if (before?.end === start) {
      before.end = touches_after ? after.end : end;
      if (touches_after) this.#free.splice(index, 1);
    } else if (touches_after) {
      after.start = start;
    } else {
      this.#free.splice(index, 0, { start, end });
    }
  }

  /** The smallest block that is large enough, so that large ones stay whole. */
  #smallest(size: number): Block | undefined {
    let best: Block | undefined;
    for (const block of this.#free) {
      const length = block.end - block.start;
      if (length >= size && (!best || length < best.end - best.start)) best = block;
    }
    return best;
  }

  /** The last block, once the memory has grown so far that it is large enough. */
  #grown(size: number): Block {
    const end = this.buffer.byteLength;
    let last = this.#free.at(-1);
    const there = last?.end === end ? end - last.start : 0;
    try {
      this.#memory.grow(Math.ceil((size - there) / PAGE_BYTES));
    } catch {
      const [asked, have] = [size, end].map((bytes) => `${Math.ceil(bytes / 2 ** 20)} MiB`);
      const hint = "close other tabs, or train with a smaller model, load_in_4bit, shorter rows or a smaller batch";
      throw failure("out-of-memory", `the browser gives the CPU engine no ${asked} more than the ${have} it has; ${hint}`);
    }
    this.buffer = this.#memory.buffer;
    if (!last || there === 0) {
      last = { start: end, end };
      this.#free.push(last);
    }
    last.end = this.buffer.byteLength;
    return last;
  }
}
