import { stored } from "./stored.js";

/** Something that the page keeps in localStorage with a version. What a later version wrote is not read, and stays as it is. */
export class Kept<T extends object> {
  readonly #name: string;
  readonly #version: number;

  constructor(name: string, version: number) {
    this.#name = name;
    this.#version = version;
  }

  get(): T | undefined {
    const found = stored.get<T & { version?: unknown }>(this.#name);
    return typeof found === "object" && found.version === this.#version ? found : undefined;
  }

  /** Whether it could be kept. */
  set(value: T): boolean {
    return !this.#isOfLater && stored.set(this.#name, { version: this.#version, ...value });
  }

  forget(): void {
    if (!this.#isOfLater) stored.forget(this.#name);
  }

  get #isOfLater(): boolean {
    const version = stored.get<{ version?: unknown }>(this.#name)?.version;
    return typeof version === "number" && version > this.#version;
  }
}
