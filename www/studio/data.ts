import { Dataset } from "tabtune";
import { Choice } from "./choice.js";
import { showError, MissingInput } from "./errors.js";
import { KeptRows, type Work } from "./kept.js";
import { OwnRows } from "./own.js";
import { watchHeldout } from "./pick.js";
import { remembered } from "./remembered.js";

/** What the rows that come with the page are kept as. */
const BUNDLED = { rows: "Bundled FAQ", heldout: "Bundled FAQ, held out" };

/** The rows to train on. */
export interface Rows {
  dataset: Dataset;
  heldout: Dataset | undefined;
  /** Whether rows are chats, of which only the answers should be learnt. */
  is_chat: boolean;
}

/** The part of the form that says which rows. */
export class DataForm {
  readonly own = new OwnRows();
  readonly #kept: KeptRows;
  readonly #choice: Choice;
  #heldout: File | undefined;

  constructor(work: Work) {
    this.#kept = new KeptRows(Object.values(BUNDLED), work);
    this.#choice = new Choice("data", () => void this.refresh());
    watchHeldout((file) => (this.#heldout = file));
    void this.refresh();
  }

  /** Lists anew what is kept. */
  async refresh(): Promise<void> {
    await this.#kept.refresh().catch(showError);
  }

  /** The rows that were chosen, imported where they are not kept yet. */
  async read(signal: AbortSignal): Promise<Rows> {
    const dataset = await this.#dataset(signal);
    const [first] = await dataset.rows(0, 1);
    if (first && "chosen" in first.row) {
      throw new MissingInput("These rows are preference pairs. They are kept, but this page does not train on them yet.");
    }
    const heldout = await this.#heldoutOf(dataset, signal);
    await this.refresh();
    return { dataset, heldout, is_chat: first !== undefined && "messages" in first.row };
  }

  async #dataset(signal: AbortSignal): Promise<Dataset> {
    switch (this.#choice.value) {
      case "bundled":
        return fetched("data/faq.jsonl", BUNDLED.rows, signal);
      case "file":
        return this.own.read(signal);
      default:
        return this.#kept.read();
    }
  }

  async #heldoutOf(rows: Dataset, signal: AbortSignal): Promise<Dataset | undefined> {
    if (this.#choice.value === "bundled") return fetched("data/faq.heldout.jsonl", BUNDLED.heldout, signal);
    if (!this.#heldout) return undefined;
    const dataset = await Dataset.open(`${rows.name}, held out`);
    // Held-out rows are taken to be written as those they are held out from.
    await dataset.import(this.#heldout, { ...remembered.get(rows.name), signal });
    return dataset;
  }
}

async function fetched(address: string, name: string, signal: AbortSignal): Promise<Dataset> {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  const dataset = await Dataset.open(name);
  await dataset.import(await response.blob(), { file_name: address.split("/").at(-1)!, signal });
  return dataset;
}
