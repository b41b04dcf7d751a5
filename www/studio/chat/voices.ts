import { computed, signal } from "@preact/signals";
import type { ModelName } from "../train/model-name.js";
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

/** One that can answer. */
export interface Choice {
  value: string;
  words: string;
}

const BASE: Choice = { value: "base", words: "The model as it came" };

/** Who can answer, and who does now. */
export class Voices {
  readonly #here = signal<Choice[]>([BASE]);
  /** What was learnt before and is not open. */
  readonly learnt = signal<Choice[]>([]);
  /** Whether one of these can answer beside the model that is loaded. */
  readonly #fitting = signal<ReadonlySet<string>>(new Set());
  readonly choices = computed(() => [...this.#here.value, ...this.learnt.value]);
  /** The choice that answers now. */
  readonly now = signal("base");
  /** Those that can answer beside it. */
  readonly others = computed(() => {
    const all = [...this.#here.value, ...this.learnt.value.filter(({ value }) => this.#fitting.value.has(value))];
    return all.filter(({ value }) => value !== this.now.value);
  });
  readonly #on_choice: (choice: string) => void;

  constructor(on_choice: (choice: string) => void) {
    this.#on_choice = on_choice;
  }

  /** Lets another one answer from now on. */
  choose(choice: string): void {
    this.#on_choice(choice);
  }

  /** What one is called, or whoever answers now. */
  nameOf(choice = this.now.value): string {
    return this.choices.value.find(({ value }) => value === choice)?.words ?? "The model";
  }

  /** Offers what was learnt before. What another model learnt can only answer in place of the one that is there. */
  offerLearnt(learnt: (Choice & { model: ModelName })[], model: ModelName | undefined): void {
    this.learnt.value = learnt;
    const fits = (other: ModelName) => other.kind === model?.kind && other.name === model.name;
    this.#fitting.value = new Set(learnt.filter((one) => fits(one.model)).map(({ value }) => value));
  }

  /** Offers what is open and what is on the shelf. */
  offer(entries: { name: string; kept: string }[], job: Job): void {
    const { voice, own } = job;
    const own_choice = own ? [{ value: "own", words: own.name }] : [];
    this.#here.value = [BASE, ...own_choice, ...entries.map(({ name }) => ({ value: choiceOf(name), words: name }))];
    const active = typeof voice === "object" ? entries.find(({ kept }) => kept === voice.key) : undefined;
    this.now.value = active ? choiceOf(active.name) : typeof voice === "string" ? voice : "base";
  }
}
