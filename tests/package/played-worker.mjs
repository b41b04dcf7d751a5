// A page's workers and locks, played: what a worker answers is up to the test.

/** The workers that were made, oldest first. */
export const workers = [];

/** What new workers answer, by the name of the call: a function of the request, the worker and what tells of progress; it may give a promise. */
export const answers = {};

/** Puts `Worker` and `navigator.locks` in place. */
export function playPage() {
  globalThis.Worker = PlayedWorker;
  globalThis.Lock ??= class {};
  Object.defineProperty(globalThis, "navigator", { value: { locks: new Locks() }, configurable: true });
}

/** How many workers were made. */
let made = 0;

/** A worker in this very thread. */
class PlayedWorker {
  calls = [];
  cancelled = [];
  pings = 0;
  is_over = false;
  /** Whether its event loop still turns. */
  hangs = false;
  #lock = `worker ${made++}`;
  #die = () => {};

  constructor() {
    workers.push(this);
    void navigator.locks.request(this.#lock, () => new Promise((resolve) => (this.#die = resolve)));
    queueMicrotask(() => this.#post({ lock: this.#lock }));
  }

  postMessage(request) {
    if (this.is_over || this.hangs) return;
    queueMicrotask(() => void this.#receive(request));
  }

  terminate() {
    this.is_over = true;
    this.#die();
  }

  /** What `self.close()` or the browser does: no event tells the page. */
  close() {
    this.terminate();
  }

  async #receive(request) {
    if ("ping" in request) {
      this.pings += 1;
      this.#post({ pong: true });
    } else if ("cancel" in request) this.cancelled.push(request.cancel);
    else {
      const { id, call, args } = request;
      this.calls.push(call);
      try {
        this.#post({ id, result: await answers[call]?.(args, this, (event) => this.#post({ id, event })) });
      } catch (error) {
        const { code = "internal", message } = error;
        this.#post({ id, error: { code, message, context: [] } });
      }
    }
  }

  #post(data) {
    if (!this.is_over && !this.hangs) this.onmessage?.({ data });
  }
}

/** Web Locks, exclusive ones alone. */
class Locks {
  #held = new Map();

  async request(name, options, callback = options) {
    const { ifAvailable = false, signal } = typeof options === "function" ? {} : options;
    if (ifAvailable && this.#held.has(name)) return callback(null);
    while (this.#held.has(name)) {
      const aborted = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
      await Promise.race([this.#held.get(name), aborted]);
    }
    const work = Promise.resolve().then(() => callback({ name, mode: "exclusive" }));
    this.#held.set(name, work.then(() => this.#held.delete(name), () => this.#held.delete(name)));
    return work;
  }

  async query() {
    return { held: [...this.#held.keys()].map((name) => ({ name, mode: "exclusive" })) };
  }
}
