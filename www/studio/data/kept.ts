import { Dataset, type DatasetInfo } from "tabtune";
import { deleteButton, smallButton } from "../ui/buttons.js";
import { element, make, show } from "../ui/dom.js";
import { downloadRows } from "../ui/download.js";
import { showError } from "../shell/errors.js";
import { sizeWords } from "../library/sizes.js";
import { count } from "../ui/format.js";
import { MissingInput } from "../ui/missing.js";
import { kindOf, type RowKind } from "../chat/preference-rows.js";
import { remembered } from "../ui/remembered.js";
import { MOST_ROWS } from "./grid-rows.js";
import { rowsIn } from "./stored-rows.js";

/** What the list asks of the page. */
export interface Work {
  /** Names of runs that could not go on without a dataset. */
  needing(dataset: string): string[];
  /** Deletes a dataset by `work`, when nothing else runs. Resolves once that is over. */
  deleting(dataset: string, work: () => Promise<void>): Promise<unknown>;
  /** Does work, when nothing else runs. */
  doing(work: () => Promise<void>): void;
}

/** What can be done with the rows of a kept dataset, but to learn from them. */
export interface KeptUses {
  /** Shows its rows. */
  look(dataset: string): void;
  /** Opens its rows where they can be written. */
  edit(dataset: string): void;
}

/** The datasets that are kept in the browser, to be chosen or deleted. */
export class KeptRows {
  readonly #list = element("kept");
  readonly #hidden: readonly string[];
  readonly #work: Work;
  readonly #uses: KeptUses;
  readonly #on_choice: () => void;
  /** What the rows of the chosen dataset say. */
  #kind: { of: string; kind: RowKind } | undefined;

  /** The datasets named in `hidden` are not listed. `on_choice` is told when another one is chosen. */
  constructor(hidden: readonly string[], work: Work, uses: KeptUses, on_choice: () => void) {
    this.#hidden = hidden;
    this.#work = work;
    this.#uses = uses;
    this.#on_choice = on_choice;
    this.#list.addEventListener("change", () => {
      on_choice();
      void this.#lookUpKind().catch(showError);
    });
  }

  /** What the rows of the chosen dataset say; undefined while that is not known. */
  get kind(): RowKind | undefined {
    return this.#kind?.of === this.#chosen ? this.#kind?.kind : undefined;
  }

  /** Chooses the dataset of that name, which is there. */
  async choose(name: string): Promise<void> {
    await this.refresh();
    for (const radio of this.#radios) radio.checked = radio.value === name;
    await this.#lookUpKind();
  }

  /** A dataset has another name now; if it was chosen, it still is. */
  async renamed(from: string, to: string): Promise<void> {
    for (const radio of this.#radios) if (radio.value === from) radio.value = to;
    if (this.#chosen === to) this.#on_choice();
    await this.refresh();
  }

  async refresh(): Promise<void> {
    const all = (await Dataset.list()).filter(({ name }) => !this.#hidden.includes(name));
    // Another one may have been chosen meanwhile.
    const chosen = this.#chosen;
    const items = all.filter(({ rows, pending_rows }) => rows > 0 || pending_rows !== null);
    this.#list.replaceChildren(...items.map((info) => this.#item(info, info.name === chosen)));
    show("kept-empty", items.length === 0);
    // It may have been deleted elsewhere.
    if (chosen !== undefined && this.#chosen === undefined) this.#on_choice();
    if (chosen !== undefined) await this.#lookUpKind();
  }

  /** What the person has to say before rows can be used. */
  get missing(): string | undefined {
    return this.#chosen === undefined ? "Choose one of the kept datasets first." : undefined;
  }

  /** The chosen dataset. */
  async read(): Promise<Dataset> {
    const name = this.#chosen;
    if (name === undefined) throw new MissingInput(this.missing!);
    const dataset = await Dataset.open(name);
    if ((await dataset.info()).rows > 0) return dataset;
    await this.refresh();
    throw new MissingInput(`“${name}” is no longer kept in this browser. Choose other rows.`);
  }

  /** The name of the chosen dataset. */
  get name(): string | undefined {
    return this.#chosen;
  }

  get #chosen(): string | undefined {
    return this.#list.querySelector<HTMLInputElement>("input:checked")?.value;
  }

  #item({ name, rows, bytes: size, pending_rows }: DatasetInfo, is_chosen: boolean): HTMLElement {
    const radio = make("input", "");
    Object.assign(radio, { type: "radio", name: "kept", value: name, checked: is_chosen, disabled: rows === 0 });
    const about = rows > 0 ? [`${count(rows, "row")} · ${sizeWords(size)}`] : [];
    if (pending_rows !== null) about.push(`interrupted after ${count(pending_rows, "row")}: choose its file again to go on`);
    const label = make("label", "", radio, make("span", "", make("b", "", name), make("span", "hint", about.join(" · "))));
    const question = () => {
      const runs = this.#work.needing(name).map((run) => `“${run}”`).join(", ");
      const loss = runs && ` It is needed to go on with ${runs}.`;
      return `Delete “${name}” from this browser?${loss} Your own file stays as it is, and so does what was learnt.`;
    };
    const remove = deleteButton(name, question, () => void this.#deleteAndGoOn(name));
    const uses = [
      smallButton("Look through", name, () => this.#uses.look(name)),
      ...(rows <= MOST_ROWS ? [smallButton("Edit", name, () => this.#uses.edit(name))] : []),
      smallButton("Export", name, () => this.#work.doing(() => downloadRows(name))),
    ];
    return make("li", "", label, make("span", "buttons", ...(rows > 0 ? uses : []), remove));
  }

  /** The first row of a dataset says of what kind all are. */
  async #lookUpKind(): Promise<void> {
    const name = this.#chosen;
    if (name === undefined) return;
    const { value: first } = await rowsIn(await Dataset.open(name), 0, 1).next();
    const before = this.kind;
    this.#kind = { of: name, kind: first ? kindOf(first) : "examples" };
    if (this.kind !== before) this.#on_choice();
  }

  /** The button that had the keyboard goes with its dataset: the next one gets it, or what says where rows are from. */
  async #deleteAndGoOn(name: string): Promise<void> {
    const place = this.#radios.findIndex(({ value }) => value === name);
    await this.#work.deleting(name, () => this.#delete(name));
    const left = this.#radios;
    (left[Math.min(place, left.length - 1)] ?? document.querySelector<HTMLElement>('[name="data"]:checked'))?.focus({ preventScroll: true });
  }

  get #radios(): HTMLInputElement[] {
    return [...this.#list.querySelectorAll<HTMLInputElement>("input")];
  }

  async #delete(name: string): Promise<void> {
    await (await Dataset.open(name)).delete();
    remembered.forget(name);
    await this.refresh();
  }
}
