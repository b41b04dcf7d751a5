import { element, make, show } from "../ui/dom.js";

/** Beyond that a mixture says little more than noise. */
const MOST = 2;
const STEP = 0.05;

/** The part of the shelf that mixes adapters: a slider each, for what its change of the model is multiplied with. */
export class Mixing {
  readonly #list = element("mix-list");
  readonly #name = element<HTMLInputElement>("mix-name");
  /** Weights by the names of adapters; those at 0 are not in it. */
  readonly #weights = new Map<string, number>();
  /** The sliders by the names of adapters. */
  #items = new Map<string, HTMLElement>();

  constructor(on_mix: (name: string, weights: Map<string, number>) => void) {
    element("mix").addEventListener("click", () => on_mix(this.#name.value.trim(), new Map(this.#weights)));
  }

  /** Offers what is on the shelf. A slider that stays is left alone, as somebody may be moving it. */
  offer(names: string[]): void {
    for (const name of this.#weights.keys()) if (!names.includes(name)) this.#weights.delete(name);
    if (names.join("\n") !== [...this.#items.keys()].join("\n")) {
      this.#items = new Map(names.map((name) => [name, this.#items.get(name) ?? this.#item(name)]));
      this.#list.replaceChildren(...this.#items.values());
    }
    show("mixing", names.length > 0);
  }

  /** Puts all back to 0. */
  clear(): void {
    this.#weights.clear();
    this.#items.clear();
    this.#list.replaceChildren();
    this.#name.value = "";
  }

  #item(name: string): HTMLElement {
    const slider = make("input", "");
    Object.assign(slider, { type: "range", min: String(-MOST), max: String(MOST), step: String(STEP), value: String(this.#weights.get(name) ?? 0) });
    slider.dataset.idle = "";
    slider.setAttribute("list", "mix-marks");
    const told = make("output", "", wordsOf(slider.valueAsNumber));
    slider.addEventListener("input", () => {
      const weight = slider.valueAsNumber;
      if (weight === 0) this.#weights.delete(name);
      else this.#weights.set(name, weight);
      told.textContent = wordsOf(weight);
      slider.setAttribute("aria-valuetext", wordsOf(weight));
    });
    slider.setAttribute("aria-valuetext", told.textContent);
    return make("li", "", make("label", "", make("span", "", name), slider), told);
  }
}

/** 0.5 → "0.50" */
function wordsOf(weight: number): string {
  return weight.toFixed(2).replace("-", "−");
}

/** What a mixture is made of, e.g. "0.50 × polite − 1.00 × terse". */
export function recipeOf(parts: [name: string, weight: number][]): string {
  const terms = parts.map(([name, weight], index) => {
    const sign = weight < 0 ? "−" : index === 0 ? "" : "+";
    const gap = index === 0 ? "" : " ";
    return `${gap}${sign}${gap}${Math.abs(weight).toFixed(2)} × ${name}`;
  });
  return terms.join("");
}
