import { element } from "./dom.js";

/** A row of radio buttons that shows, of the parts marked `data-for="NAME:VALUE"`, those of its value. */
export class Choice {
  readonly #part: HTMLElement;
  readonly #name: string;

  /** The buttons are in the part of the page with the id `part`. */
  constructor(name: string, on_change: () => void, part = "setup") {
    this.#name = name;
    this.#part = element(part);
    this.#part.addEventListener("change", ({ target }) => {
      if ((target as HTMLInputElement).name !== name) return;
      this.#update();
      on_change();
    });
    // Browsers keep a form's values over a reload.
    this.#update();
  }

  /** Read off the buttons: a form tells nothing of those that wait while work is done. */
  get value(): string {
    return this.#part.querySelector<HTMLInputElement>(`[name="${this.#name}"]:checked`)!.value;
  }

  set value(value: string) {
    if (value === this.value) return;
    const button = this.#part.querySelector<HTMLInputElement>(`[name="${this.#name}"][value="${value}"]`)!;
    button.checked = true;
    button.dispatchEvent(new Event("change", { bubbles: true }));
  }

  #update(): void {
    for (const part of document.querySelectorAll<HTMLElement>(`[data-for*="${this.#name}:"]`)) {
      part.hidden = !part.dataset.for!.split(" ").includes(`${this.#name}:${this.value}`);
    }
  }
}
