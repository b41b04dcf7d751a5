// What the operator reads: a line for each thing that happens, and one in a minute for all that was refused in it. No line holds an
// address or a key, so the log tells nothing of who took part.

const SUMMARY_MS = 60_000;

export class Journal {
  #write;
  #refused = new Map();
  #timer;
  #answers = true;

  constructor(write = console.log, { summary_ms = SUMMARY_MS } = {}) {
    this.#write = write;
    this.#timer = setInterval(() => this.summarise(), summary_ms);
    this.#timer.unref();
  }

  tell(words) {
    this.#write(`${new Date().toISOString()} ${words}`);
  }

  /** Counts a refusal. Kinds are words of this program, never of a request, so there are few. */
  refused({ code, kind }) {
    const what = `${code} (${kind})`;
    this.#refused.set(what, (this.#refused.get(what) ?? 0) + 1);
  }

  /** Notes whether the SuperLink answers, and tells it when that changes. */
  answers(does, reason) {
    if (does === this.#answers) return;
    this.#answers = does;
    this.tell(does ? "the SuperLink answers again" : `the SuperLink cannot be reached (${reason}); is it running?`);
  }

  summarise() {
    if (this.#refused.size === 0) return;
    const counts = [...this.#refused].sort(([, a], [, b]) => b - a).map(([what, count]) => `${count} ${what}`);
    this.#refused.clear();
    this.tell(`refused: ${counts.join(", ")}`);
  }

  close() {
    clearInterval(this.#timer);
    this.summarise();
  }
}
