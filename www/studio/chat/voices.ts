import { element, make, show, write } from "../ui/dom.js";
import type { Job } from "../work/job.js";

/** What stands in a menu for an adapter of the shelf, so that none can be named like another choice. */
const SHELF = "shelf:";

/** The choice of an adapter of the shelf. */
export function choiceOf(name: string): string {
  return SHELF + name;
}

/** The adapter of the shelf that a choice is; undefined where it is another one. */
export function nameIn(choice: string): string | undefined {
  return choice.startsWith(SHELF) ? choice.slice(SHELF.length) : undefined;
}

/** The menus of who answers: one in the chat, and one for each side of a comparison. */
export class Voices {
  readonly #voice = element<HTMLSelectElement>("voice");
  readonly #left = element<HTMLSelectElement>("left");
  readonly #right = element<HTMLSelectElement>("right");
  /** Who was compared last. */
  #sides: [string, string] = ["base", "now"];

  constructor(on_choice: (choice: string) => void) {
    this.#voice.addEventListener("change", () => on_choice(this.#voice.value));
    for (const side of [this.#left, this.#right]) {
      side.addEventListener("change", () => {
        this.#sides = [this.#left.value, this.#right.value];
        this.#title();
      });
    }
  }

  /** The two that the person chose to compare; undefined for the usual ones. */
  get sides(): [string, string] | undefined {
    const [left, right] = this.#sides;
    if (left === "base" && right === "now") return undefined;
    return this.#sides.map((side) => (side === "now" ? this.#voice.value : side)) as [string, string];
  }

  /** Offers what there is. */
  offer(entries: { name: string; kept: string }[], job: Job): void {
    const { voice, own } = job;
    const choices: [string, string][] = [["base", "the model as it came"]];
    if (own) choices.push(["own", `“${own.name}”, which is open`]);
    for (const { name } of entries) choices.push([choiceOf(name), name]);
    const active = typeof voice === "object" ? entries.find(({ kept }) => kept === voice.key) : undefined;
    fill(this.#voice, choices, active ? choiceOf(active.name) : typeof voice === "string" ? voice : "base");
    const now = this.#voice.selectedOptions[0]?.textContent ?? "";
    const sides: [string, string][] = [...choices, ["now", `whoever answers now: ${now}`]];
    const [left, right] = this.#sides.map((side, index) => (sides.some(([value]) => value === side) ? side : ["base", "now"][index]!));
    this.#sides = [left!, right!];
    fill(this.#left, sides, left!);
    fill(this.#right, sides, right!);
    for (const id of ["voice-label", "sides"]) show(id, entries.length > 0);
    this.#title();
  }

  /** Says above the answers whose they are. */
  #title(): void {
    const usual = this.sides === undefined;
    write("title-base", usual ? "Before" : titleOf(this.#left));
    write("title-tuned", usual ? "After" : titleOf(this.#right));
  }
}

function fill(menu: HTMLSelectElement, choices: [string, string][], chosen: string): void {
  const options = choices.map(([value, words]) => {
    const option = make("option", "", words);
    option.value = value;
    return option;
  });
  menu.replaceChildren(...options);
  menu.value = chosen;
}

function titleOf(menu: HTMLSelectElement): string {
  const words = menu.selectedOptions[0]?.textContent ?? "";
  return words.charAt(0).toUpperCase() + words.slice(1);
}
