import { Dataset, type DatasetInfo } from "tabtune";
import { deleteButton } from "./buttons.js";
import { element, make, show } from "./dom.js";
import { bytes, count } from "./format.js";
import { MissingInput } from "./missing.js";
import { remembered } from "./remembered.js";

/** What the list asks of the page. */
export interface Work {
  /** Names of runs that could not go on without a dataset. */
  needing(dataset: string): string[];
  /** Deletes a dataset by `work`, when nothing else runs. */
  deleting(dataset: string, work: () => Promise<void>): void;
}

/** The datasets that are kept in the browser, to be chosen or deleted. */
export class KeptRows {
  readonly #list = element("kept");
  readonly #hidden: readonly string[];
  readonly #work: Work;

  /** The datasets named in `hidden` are not listed. `on_choice` is told when another one is chosen. */
  constructor(hidden: readonly string[], work: Work, on_choice: () => void) {
    this.#hidden = hidden;
    this.#work = work;
    this.#list.addEventListener("change", on_choice);
  }

  async refresh(): Promise<void> {
    const chosen = this.#chosen;
    const all = (await Dataset.list()).filter(({ name }) => !this.#hidden.includes(name));
    const items = all.filter(({ rows, pending_rows }) => rows > 0 || pending_rows !== null);
    this.#list.replaceChildren(...items.map((info) => this.#item(info, info.name === chosen)));
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
    const question = () => {
      const runs = this.#work.needing(name).map((run) => `“${run}”`).join(", ");
      const loss = runs && ` It is needed to go on with ${runs}.`;
      return `Delete “${name}” from this browser?${loss} Your own file stays as it is, and so does what was learnt.`;
    };
    const remove = deleteButton(name, question, () => this.#work.deleting(name, () => this.#delete(name)));
    return make("li", "", label, remove);
  }

  async #delete(name: string): Promise<void> {
    await (await Dataset.open(name)).delete();
    remembered.forget(name);
    await this.refresh();
  }
}
