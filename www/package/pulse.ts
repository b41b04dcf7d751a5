/** How long a worker is waited for, in seconds. */
export interface Patience {
  /** Between two pings while calls are open. */
  ping: number;
  /** A worker that owes an answer for so long is told of. Compiling shaders on a processor takes many seconds. */
  silence: number;
  /** Once the caller wants to stop, a worker that owes an answer for so long is ended. */
  grace: number;
  /** Once the caller wants to stop, a worker that answers pings and not the call is ended after so long. */
  limit: number;
}

export const PATIENCE: Patience = { ping: 5, silence: 60, grace: 5, limit: 120 };

/** Whether a worker still answers: it is pinged while calls are open, and answers between two steps of its work. */
export class Pulse {
  readonly #ping: () => void;
  readonly #patience: Patience;
  readonly #silent: (seconds: number) => void;
  /** Since when an answer is owed. */
  #owed: number | undefined;
  #is_told = false;
  #looked_at = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `silent` hears once of each silence that outlasts patience. */
  constructor(ping: () => void, patience: Patience, silent: (seconds: number) => void) {
    this.#ping = ping;
    this.#patience = patience;
    this.#silent = silent;
  }

  /** Something came from the worker. */
  heard(): void {
    this.#owed = undefined;
    this.#is_told = false;
  }

  /** Begins to ping, or goes on. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#looked_at = performance.now();
    this.#timer = setInterval(() => this.#look(), this.#patience.ping * 1000);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#owed = undefined;
  }

  /** Asks now; the seconds for which an answer has been owed already. */
  ask(): number {
    const now = performance.now();
    if (this.#owed === undefined) {
      this.#owed = now;
      this.#ping();
    }
    return (now - this.#owed) / 1000;
  }

  #look(): void {
    const now = performance.now();
    // A page that the browser had put to sleep, and the worker with it, has heard nothing either.
    if (now - this.#looked_at > 3000 * this.#patience.ping) this.#owed = undefined;
    this.#looked_at = now;
    const seconds = this.ask();
    if (seconds < this.#patience.silence || this.#is_told) return;
    this.#is_told = true;
    this.#silent(seconds);
  }
}
