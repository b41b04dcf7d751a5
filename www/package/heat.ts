/** Speed is judged by as many steps as fill this time, and no fewer than these. */
const STRETCH_MILLIS = 10_000;
const LEAST_STEPS = 6;

/** How long steps have to be slow without a break before it counts as heat. */
const LASTING_MILLIS = 120_000;

/**
 * Tells from the time of steps whether a machine is hot.
 *
 * A processor that is too hot is slow until it may rest. One that other programs use is slow as well, and no
 * interface of a browser tells the two apart: a loop that is timed in the page slows down in both, and timers need not
 * come late in either. What differs is how long it lasts. Others want the machine for seconds or a minute, and the first
 * stretch at the usual speed shows that it was never hot; heat does not go while the work goes on. So a slow-down
 * counts once it has lasted for two minutes without a break, however suddenly it came. A device that has to protect
 * itself does so long before. What is as slow after a rest was no heat, and becomes the new measure.
 */
export class Heat {
  readonly #max_slowdown: number;
  /** The times of pairs of steps, and what is there of the next pair. */
  #pairs: number[] = [];
  #odd: number | undefined;
  #filled = 0;
  /** Milliseconds of a step in the last stretch, and in the fastest. */
  #now = 0;
  #best = Infinity;
  /** For how long steps have been slow. */
  #slow = 0;
  #has_rested = false;

  constructor(max_slowdown: number) {
    this.#max_slowdown = max_slowdown;
  }

  /** Takes note of a step's time. */
  stepped(millis: number): void {
    // A browser may tell of two steps at once, so that one of them seems to take the time of both.
    if (this.#odd === undefined) {
      this.#odd = millis;
      return;
    }
    this.#pairs.push(this.#odd + millis);
    this.#filled += this.#odd + millis;
    this.#odd = undefined;
    if (this.#filled >= STRETCH_MILLIS && 2 * this.#pairs.length >= LEAST_STEPS) this.#judge();
  }

  /** Looks at the stretch that is full. */
  #judge(): void {
    // A single step may be long for any reason: the machine was asleep, or the page was being saved.
    this.#now = median(this.#pairs) / 2;
    if (this.#has_rested && this.#isSlow()) this.#best = this.#now;
    this.#has_rested = false;
    this.#best = Math.min(this.#best, this.#now);
    this.#slow = this.#isSlow() ? this.#slow + this.#now * 2 * this.#pairs.length : 0;
    this.#forget();
  }

  #isSlow(): boolean {
    return this.#now > this.#best * this.#max_slowdown;
  }

  #forget(): void {
    this.#pairs = [];
    this.#odd = undefined;
    this.#filled = 0;
  }

  /** Forgets slow steps once the machine has had its rest. */
  rested(): void {
    this.#forget();
    this.#slow = 0;
    this.#has_rested = true;
  }

  /** How many times as long as at best steps have taken for a long time, or undefined where they do not. */
  slowdown(): number | undefined {
    return this.#slow >= LASTING_MILLIS ? this.#now / this.#best : undefined;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
