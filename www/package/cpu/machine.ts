import { detailsOf, failure, type TabtuneError } from "../errors.js";
import type { Crew, Listener } from "./crew.js";
import { Heap } from "./heap.js";
import { bestFlavour, INITIAL_PAGES, instantiate, type Flavour } from "./kernels.js";
import { Solo } from "./solo.js";
import { Team, type WorkerLike } from "./team.js";

/** Where the parts come from that are files of their own. */
export interface Parts {
  module(flavour: Flavour): Promise<WebAssembly.Module>;
  /** Makes a worker; undefined where there shall be none. */
  worker: (() => WorkerLike) | undefined;
}

/** What waits for its turn: a list of calls, or something that is done when all before it is through. */
type Job = { list: number; count: number } | (() => void);

/** The most pages that a memory may have is the most that the browser reserves for one. */
const MAXIMA = [65536, 49152, 32768, 16384, 8192];

/** A memory with workers on it that run kernels there, as a GPU does. What is asked for is done in that order. */
export class Machine {
  readonly flavour: Flavour;
  /** What is taken before anything is allocated: the workers' stacks and panels, and the module's own data. */
  readonly own_bytes: number;
  readonly #heap: Heap;
  readonly #crew: Crew;
  readonly #jobs: Job[] = [];
  /** Those that wait for an answer, should none come. */
  readonly #waiting = new Set<(error: TabtuneError) => void>();
  #failed: TabtuneError | undefined;

  private constructor(flavour: Flavour, heap: Heap, crew: (listener: Listener) => Crew) {
    this.flavour = flavour;
    this.#heap = heap;
    this.#crew = crew({ finished: () => this.#proceed(), failed: (thrown) => this.#fail(stopped(thrown)) });
    this.own_bytes = heap.taken;
  }

  /** A machine with so many workers, or as many as there are cores to spare; one where the page is not isolated. */
  static async open(parts: Parts, workers?: number): Promise<Machine> {
    const machine = await Machine.planned(parts, workers);
    await machine.#crew.begin();
    return machine;
  }

  /** The same machine before any of its workers is started: it tells what it takes, and computes nothing. */
  static async planned(parts: Parts, workers = defaultWorkers()): Promise<Machine> {
    const flavour = await bestFlavour();
    const module = await parts.module(flavour);
    const memory = newMemory();
    const kernels = await instantiate(module, memory);
    const heap = new Heap(memory, kernels.__heap_base.value);
    const { worker } = parts;
    const shares = globalThis.crossOriginIsolated && typeof SharedArrayBuffer === "function";
    return new Machine(flavour, heap, (listener) =>
      worker && shares ? new Team(workers, worker, { module, memory, kernels, heap, listener }) : new Solo(kernels, heap, listener),
    );
  }

  get workers(): number {
    return this.#crew.workers;
  }

  /** The bytes of the memory, handed out or not. */
  get bytes(): number {
    return this.#heap.buffer.byteLength;
  }

  /** The address of so many bytes, which are zero when all that was started before is through. */
  allocate(bytes: number): number {
    const { address, used } = this.#heap.allocate(bytes);
    if (used > 0) this.#queue(() => new Uint8Array(this.#heap.buffer, address, used).fill(0));
    return address;
  }

  /** Takes bytes back; what was started before may still use them. */
  free(address: number, bytes: number): void {
    this.#heap.free(address, bytes);
  }

  /** Writes bytes, which the caller may change afterwards. */
  write(address: number, bytes: Uint8Array): void {
    // What is put off cannot look at the caller's bytes any more.
    const kept = this.#is_idle ? bytes : bytes.slice();
    this.#queue(() => new Uint8Array(this.#heap.buffer, address, kept.length).set(kept));
  }

  /** Starts the calls in a list of so many. */
  start(list: number, count: number): void {
    this.#queue({ list, count });
  }

  /** A copy of bytes. */
  read(address: number, bytes: number): Promise<Uint8Array> {
    return this.#answer(() => new Uint8Array(this.#heap.buffer, address, bytes).slice());
  }

  /** Resolves when all that was started is through. */
  idle(): Promise<void> {
    return this.#answer(() => {});
  }

  /** Ends the workers; nothing is done or answered any more. */
  close(): void {
    this.#fail(failure("bad-state", "the CPU engine was closed"));
  }

  get #is_idle(): boolean {
    return this.#crew.idle && this.#jobs.length === 0;
  }

  #queue(job: Job): void {
    if (this.#failed) return;
    this.#jobs.push(job);
    this.#proceed();
  }

  #answer<T>(look: () => T): Promise<T> {
    const answer = new Promise<T>((resolve, reject) => {
      if (this.#failed) {
        reject(this.#failed);
        return;
      }
      this.#waiting.add(reject);
      this.#queue(() => {
        this.#waiting.delete(reject);
        try {
          resolve(look());
        } catch (thrown) {
          // The browser may have no array of that size.
          reject(failure("out-of-memory", `the CPU engine's values cannot be read: ${String(thrown)}`));
        }
      });
    });
    // The values of a step are asked for before it is known whether anyone waits for them: a run that is ended drops them.
    answer.catch(() => {});
    return answer;
  }

  /** Does what has its turn. */
  #proceed(): void {
    for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
      if (typeof job === "function") {
        if (!this.#crew.idle) return;
        job();
      } else if (!this.#crew.start(job.list, job.count)) {
        return;
      }
      this.#jobs.shift();
    }
  }

  #fail(error: TabtuneError): void {
    if (this.#failed) return;
    this.#failed = error;
    this.#crew.close();
    this.#jobs.length = 0;
    for (const reject of this.#waiting) reject(error);
    this.#waiting.clear();
  }
}

/** Why a machine does no more. What WebAssembly throws where a kernel traps carries no code. */
function stopped(thrown: unknown): TabtuneError {
  const { code, message } = detailsOf(thrown);
  return failure(code === "internal" ? "device-lost" : code, `a worker of the CPU engine has stopped: ${message}`);
}

/** As many as there are cores, less one for the page where that leaves two. */
function defaultWorkers(): number {
  const cores = navigator.hardwareConcurrency;
  return cores > 2 ? cores - 1 : cores;
}

/**
 * A memory as large as the browser lets it grow. It is always a shared one, as the kernels' module wants it: browsers
 * make those on pages that are not isolated as well, but do not let other threads have them.
 */
function newMemory(): WebAssembly.Memory {
  for (const maximum of MAXIMA) {
    try {
      return new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: true });
    } catch {
      // The next is smaller.
    }
  }
  throw failure("out-of-memory", "the browser has no memory for the CPU engine; close other tabs and reload the page");
}
