import { make } from "../ui/dom.js";
import { smallButton } from "../ui/buttons.js";

/** Which of the two was picked, by its place; undefined for neither. */
export type Place = 0 | 1 | undefined;

const NAMES = ["Answer A", "Answer B"] as const;

/** Two answers side by side, which nobody can tell apart but by what they say. */
export class AnswerPair {
  readonly element: HTMLElement;
  /** Where the answers are written. */
  readonly places = NAMES.map(() => make("p", "answer"));
  readonly #cards: HTMLElement[];

  constructor() {
    this.#cards = NAMES.map((name, index) => make("article", "", make("h4", "", name), this.places[index]!));
    this.element = make("div", "answer-pair", make("div", "answers", ...this.#cards));
  }

  /** Lets the person pick, once both are there. `neither` is what it is called to pick none. */
  offer(neither: string, on_pick: (pick: Place) => void): void {
    this.#cards.forEach((card, index) => card.append(smallButton("This one", `(${NAMES[index]})`, () => on_pick(index as Place))));
    this.element.append(smallButton(neither, "", () => on_pick(undefined)));
  }
}
