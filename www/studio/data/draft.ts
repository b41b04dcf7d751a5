import { Kept } from "../ui/kept.js";

/** What a draft may take of the few megabytes that a page may keep so. */
const MOST_CHARACTERS = 1_000_000;

/** What a person has begun and not finished, kept by the browser until then. */
export class Draft<T> {
  readonly #kept: Kept<{ value: T }>;
  readonly #isValid: (value: T) => boolean;

  constructor(key: string, version: number, isValid: (value: T) => boolean) {
    this.#kept = new Kept(`tabtune:draft:${key}`, version);
    this.#isValid = isValid;
  }

  get(): T | undefined {
    const kept = this.#kept.get();
    try {
      return kept && this.#isValid(kept.value) ? kept.value : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whether it could be kept. */
  set(value: T): boolean {
    if (JSON.stringify(value).length <= MOST_CHARACTERS) return this.#kept.set({ value });
    // An older one would come back in its place.
    this.#kept.forget();
    return false;
  }

  forget(): void {
    this.#kept.forget();
  }
}
