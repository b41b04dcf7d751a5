import { stored } from "./stored.js";

/** Something that the page keeps in localStorage with a version. What a later version wrote is neither read nor written over. */
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

  set(value: T): void {
    const found = stored.get<{ version?: unknown }>(this.#name);
    const is_later = typeof found?.version === "number" && found.version > this.#version;
    if (!is_later) stored.set(this.#name, { version: this.#version, ...value });
  }
}
