import { smallButton } from "../ui/buttons.js";
import { element, make, show, write } from "../ui/dom.js";
import { downloadRows } from "../ui/download.js";
import { count } from "../ui/format.js";
import { PickedRows, type PickKind } from "./picked-rows.js";
import { rowCard } from "../data/rows.js";
import { rowsIn } from "../data/stored-rows.js";

/** The latest rows that are shown. */
const SHOWN = 20;

const WORDS: Record<PickKind, { title: string; which: string; done: string }> = {
  pairs: { title: "Pairs are kept as", which: "(pairs)", done: "picked" },
  ratings: { title: "Ratings are kept as", which: "(ratings)", done: "rated" },
};

/** What the list asks of the page. */
export interface PickedPage {
  /** Does work that needs no model. */
  working(work: () => Promise<void>): Promise<boolean>;
  /** Chooses a dataset to be learnt from. */
  learnFrom(dataset: string): Promise<void>;
  /** Other datasets are there than before. */
  changed(): Promise<void>;
}

/** What was picked and rated: how much, under which names, and what can be done with it. */
export class Picked {
  readonly pairs = new PickedRows("pairs");
  readonly ratings = new PickedRows("ratings");
  readonly #page: PickedPage;
  readonly #items = (["pairs", "ratings"] as const).map((kind) => this.#item(kind));

  constructor(page: PickedPage) {
    this.#page = page;
    element("picked-sets").replaceChildren(...this.#items.map(({ item }) => item));
    element("learn-from-picks").replaceChildren(...this.#items.map(({ learn }) => learn));
  }

  /** Counts anew. */
  async refresh(): Promise<void> {
    const told: string[] = [];
    for (const { kind, about, buttons, learn } of this.#items) {
      const rows = await this[kind].count();
      about.textContent = rows > 0 ? count(rows, "row") : "none yet";
      buttons.hidden = learn.hidden = rows === 0;
      if (rows > 0) told.push(`${rows.toLocaleString("en")} ${WORDS[kind].done}`);
      if (kind === "pairs") show("undo-pick", rows > 0);
    }
    write("picked-count", told.join(" · "));
    element("picked-cards").replaceChildren();
    await this.#page.changed();
  }

  #item(kind: PickKind) {
    const { title, which } = WORDS[kind];
    const name = make("input", "");
    Object.assign(name, { type: "text", autocomplete: "off", spellcheck: false, value: this[kind].name });
    name.addEventListener("change", () => {
      this[kind].name = name.value;
      name.value = this[kind].name;
      void this.#page.working(() => this.refresh());
    });
    const begin = (word: string, work: () => Promise<void>) => smallButton(word, which, () => void this.#page.working(work));
    const learn = smallButton(`Learn from them ${which}`, "", () => void this.#page.working(() => this.#page.learnFrom(this[kind].name)));
    const buttons = make(
      "span",
      "buttons",
      begin("Look", () => this.#look(kind)),
      begin("Export", () => downloadRows(this[kind].name)),
    );
    const about = make("span", "hint");
    const item = make("li", "", make("span", "", make("label", "", `${title} `, name), about), buttons);
    return { kind, item, about, buttons, learn };
  }

  /** Shows the latest rows, the last one first. */
  async #look(kind: PickKind): Promise<void> {
    const dataset = await this[kind].open();
    const { rows } = await dataset.info();
    const cards: HTMLElement[] = [];
    for await (const row of rowsIn(dataset, Math.max(0, rows - SHOWN))) cards.unshift(rowCard(row));
    element("picked-cards").replaceChildren(...cards);
  }
}
