import { stored } from "../ui/stored.js";

/** Something that was begun, as the browser keeps it over a reload. */
interface Kept<T> {
  version: number;
  value: T;
}

/** What a draft may take of the few megabytes that a page may keep so. */
const MOST_CHARACTERS = 1_000_000;

/**
 * What a person has begun and not finished, kept by the browser until then. One of a later version of the page is not read,
 * and stays as it is.
 */
export class Draft<T> {
  readonly #key: string;
  readonly #version: number;
  readonly #isValid: (value: T) => boolean;

  constructor(key: string, version: number, isValid: (value: T) => boolean) {
    this.#key = `tabtune:draft:${key}`;
    this.#version = version;
    this.#isValid = isValid;
  }

  get(): T | undefined {
    const kept = stored.get<Kept<T>>(this.#key);
    if (kept?.version !== this.#version) return undefined;
    try {
      return this.#isValid(kept.value) ? kept.value : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whether it could be kept. */
  set(value: T): boolean {
    if (this.#isOfLater) return false;
    const kept: Kept<T> = { version: this.#version, value };
    if (JSON.stringify(kept).length > MOST_CHARACTERS) {
      // An older one would come back in its place.
      stored.forget(this.#key);
      return false;
    }
    return stored.set(this.#key, kept);
  }

  forget(): void {
    if (!this.#isOfLater) stored.forget(this.#key);
  }

  get #isOfLater(): boolean {
    return (stored.get<Kept<T>>(this.#key)?.version ?? 0) > this.#version;
  }
}
