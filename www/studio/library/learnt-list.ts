import { Dataset, Trainer } from "tabtune";
import { deleteButton, smallButton } from "../ui/buttons.js";
import { element, make, show } from "../ui/dom.js";
import { count } from "../ui/format.js";
import type { Learnt, LearntStore } from "./learnt.js";
import { modelWords } from "../train/model-name.js";
import { METHOD_NAMES } from "../train/preferences.js";
import { trainsAll } from "../train/settings.js";

/** What can be done with an entry of the list. */
export interface Actions {
  open(learnt: Learnt): void;
  /** Go on with its run from the last checkpoint, or open what that is if it is the run's end. */
  goOn(learnt: Learnt): void;
  download(learnt: Learnt): void;
  rename(learnt: Learnt, name: string): void;
  delete(learnt: Learnt): void;
}

/** An entry, with what is there of it. */
interface Entry {
  learnt: Learnt;
  /** The step of the run's last checkpoint; 0 where there is none. */
  saved_step: number;
  has_rows: boolean;
}

/** The list of what was learnt, and of runs that were not finished. */
export class LearntList {
  readonly #store: LearntStore;
  readonly #actions: Actions;
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;
  #entries: Entry[] = [];

  constructor(store: LearntStore, actions: Actions) {
    this.#store = store;
    this.#actions = actions;
  }

  /** Names of the runs that could not go on, or be opened, without a dataset. */
  needing(dataset: string): string[] {
    const needs = this.#entries.filter((entry) => {
      const { learnt, saved_step } = entry;
      return learnt.rows?.dataset === dataset && saved_step > 0 && !(learnt.has_files && isOver(entry));
    });
    return needs.map(({ learnt }) => learnt.name);
  }

  /** Lists anew what is there; `open` is what the page has at hand. */
  async refresh(open: string | undefined): Promise<void> {
    const turn = ++this.#asked;
    const [all, datasets] = await Promise.all([this.#store.all(), Dataset.list()]);
    const names = new Set(datasets.map(({ name }) => name));
    const entries = await Promise.all(all.map((learnt) => entryOf(learnt, names)));
    if (turn !== this.#asked) return;
    this.#entries = entries.filter(({ learnt, saved_step }) => learnt.has_files || saved_step > 0);
    element("learnt-list").replaceChildren(...this.#entries.map((entry) => this.#item(entry, entry.learnt.id === open)));
    show("learnt", this.#entries.length > 0);
  }

  /** Removes runs that ended before their first step. What another tab has begun, or has just kept, is left to it. */
  async tidy(): Promise<void> {
    for (const learnt of await this.#store.all()) {
      if (learnt.has_files || (await Trainer.checkpoints(learnt.id)).some(({ step }) => step > 0)) continue;
      const is_gone = await Trainer.forget(learnt.id).then(() => true, () => false);
      if (is_gone && !(await this.#store.get(learnt.id))?.has_files) await this.#store.delete(learnt.id);
    }
  }

  #item(entry: Entry, is_open: boolean): HTMLElement {
    const { learnt, saved_step, has_rows } = entry;
    const { name } = learnt;
    const buttons: HTMLButtonElement[] = [];
    const begin = (word: string, act: (learnt: Learnt) => void) => {
      const button = smallButton(word, name, () => act(learnt));
      buttons.push(button);
    };
    const is_over = isOver(entry);
    if (learnt.has_files && !is_open) begin("Open", this.#actions.open);
    // All weights are kept as the last checkpoint of their run alone, and so was any run before there was this list.
    if (!learnt.has_files && is_over && has_rows && !is_open) begin("Open", this.#actions.goOn);
    if (saved_step > 0 && !is_over && has_rows) begin(`Go on from step ${saved_step.toLocaleString("en")}`, this.#actions.goOn);
    if (learnt.has_files) buttons.push(smallButton("Download", name, () => this.#actions.download(learnt)));
    const rename = smallButton("Rename", name, () => {
      const given = prompt("What is it to be called?", name)?.trim();
      if (given) this.#actions.rename(learnt, given);
    });
    const remove = deleteButton(name, () => `Delete “${name}” from this browser? What was learnt is lost then.`, () => this.#actions.delete(learnt));
    const title = make("b", "", make("span", "", name), ...(is_open ? [make("span", "now", "open")] : []));
    const about = make("span", "hint", aboutOf(entry));
    return make("li", is_open ? "learnt-item is-open" : "learnt-item", make("span", "", title, about), make("span", "buttons", ...buttons, rename, remove));
  }
}

async function entryOf(learnt: Learnt, datasets: Set<string>): Promise<Entry> {
  const is_whole = learnt.has_files && (learnt.is_early || learnt.steps === learnt.config.train.max_steps);
  const checkpoints = is_whole || !learnt.rows ? [] : await Trainer.checkpoints(learnt.id);
  const has_rows = learnt.rows !== null && datasets.has(learnt.rows.dataset);
  return { learnt, saved_step: checkpoints.at(-1)?.step ?? 0, has_rows };
}

function isOver({ learnt, saved_step }: Entry): boolean {
  return learnt.is_early || Math.max(saved_step, learnt.steps ?? 0) >= learnt.config.train.max_steps!;
}

function aboutOf(entry: Entry): string {
  const { learnt, saved_step } = entry;
  const { rows, model, steps, config, date } = learnt;
  const notes = [];
  if (rows) notes.push(rows.count === null ? rows.dataset : `${count(rows.count, "row")} of ${rows.dataset}`);
  notes.push(modelWords(model));
  if (trainsAll(config)) notes.push("all weights");
  if (config.train.optim === "mezo") notes.push("MeZO");
  const { method } = config.train;
  if (method && method !== "sft") notes.push(METHOD_NAMES[method]);
  const done = learnt.has_files ? steps : saved_step;
  const is_whole = isOver(entry) && !learnt.is_early;
  if (done !== null) notes.push(is_whole ? count(done, "step") : `${done.toLocaleString("en")} of ${count(config.train.max_steps!, "step")}`);
  if (learnt.is_early) notes.push("ended early");
  if (learnt.measured) notes.push(learnt.measured);
  notes.push(new Date(date).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }));
  return notes.join(" · ");
}
