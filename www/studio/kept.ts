import { Dataset, type DatasetInfo } from "tabtune";
import { deleteButton } from "./delete-button.js";
import { element, make, show } from "./dom.js";
import { MissingInput } from "./errors.js";
import { bytes, count } from "./format.js";
import { remembered } from "./remembered.js";

/** What the list asks of the page. */
export interface Work {
  running(): boolean;
  /** Forgets the run of a dataset and then does the rest of the work, when nothing else runs. */
  forget(dataset: string, rest: () => Promise<void>): void;
}

/** The datasets that are kept in the browser, to be chosen or deleted. */
export class KeptRows {
  readonly #list = element("kept");
  readonly #hidden: readonly string[];
  readonly #work: Work;

  /** The datasets named in `hidden` are not listed. */
  constructor(hidden: readonly string[], work: Work) {
    this.#hidden = hidden;
    this.#work = work;
  }

  async refresh(): Promise<void> {
    const chosen = this.#chosen;
    const all = (await Dataset.list()).filter(({ name }) => !this.#hidden.includes(name));
    const items = all.map((info) => this.#item(info, info.name === chosen));
    this.#list.replaceChildren(...items);
    show("kept-empty", items.length === 0);
  }

  /** The chosen dataset. */
  async read(): Promise<Dataset> {
    if (this.#chosen === undefined) throw new MissingInput("Choose one of the kept datasets first.");
    return Dataset.open(this.#chosen);
  }

  get #chosen(): string | undefined {
    return this.#list.querySelector<HTMLInputElement>("input:checked")?.value;
  }

  #item({ name, rows, bytes: size, pending_rows }: DatasetInfo, is_chosen: boolean): HTMLElement {
    const radio = make("input", "");
    Object.assign(radio, { type: "radio", name: "kept", value: name, checked: is_chosen, disabled: rows === 0 });
    const about = rows > 0 ? [`${count(rows, "row")} · ${bytes(size)}`] : [];
    if (pending_rows !== null) about.push(`interrupted after ${count(pending_rows, "row")}: choose its file again to go on`);
    const label = make("label", "", radio, make("span", "", make("b", "", name), make("span", "hint", about.join(" · "))));
    const question = `Delete “${name}” from this browser, with what a run has learnt from it? Your own file stays as it is.`;
    const remove = deleteButton(name, question, () => this.#work.forget(name, () => this.#delete(name)));
    remove.disabled = this.#work.running();
    return make("li", "", label, remove);
  }

  async #delete(name: string): Promise<void> {
    await (await Dataset.open(name)).delete();
    remembered.forget(name);
    await this.refresh();
  }
}
