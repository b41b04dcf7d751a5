import { Dataset, VERSION } from "tabtune";
import { Choice } from "../ui/choice.js";
import { showError } from "../shell/errors.js";
import { KeptRows, type Work } from "./kept.js";
import { OwnRows } from "./own.js";
import { watchHeldout } from "./pick.js";
import { kindOf, type RowKind } from "../chat/preference-rows.js";
import { isChat, questionOf, type Question } from "../work/question.js";
import { remembered } from "../ui/remembered.js";
import { served } from "../shell/served.js";
import { stored } from "../ui/stored.js";

/** What the rows that come with the page are kept as. */
export const BUNDLED = { rows: "Bundled FAQ", heldout: "Bundled FAQ, held out" };

/** The version of the page whose bundled rows are kept. */
const BUNDLED_VERSION = "tabtune:bundled";

/** The rows to train on. */
export interface Rows {
  dataset: Dataset;
  heldout: Dataset | undefined;
  /** Whether rows are chats, of which only the answers should be learnt. */
  is_chat: boolean;
  /** How many there are; null where that is not known any more. */
  count: number | null;
  question: Question | null;
}

/** Rows as they were just read. */
export interface ReadRows extends Rows {
  kind: RowKind;
}

/** The part of the form that says which rows. */
export class DataForm {
  readonly own: OwnRows;
  readonly #kept: KeptRows;
  readonly #choice: Choice;
  readonly #on_change: () => void;
  #heldout: File | undefined;

  /** `on_change` is told when other rows are chosen, or are to be read in another way. */
  constructor(work: Work, on_change: () => void) {
    this.own = new OwnRows(on_change);
    this.#kept = new KeptRows(Object.values(BUNDLED), work, on_change);
    this.#on_change = on_change;
    this.#choice = new Choice("data", () => {
      on_change();
      void this.refresh();
    }, "rows-part");
    watchHeldout((file) => (this.#heldout = file));
    void this.refresh();
  }

  get bundled(): boolean {
    return this.#choice.value === "bundled";
  }

  /** What the person has to say before the rows can be used. */
  get missing(): string | undefined {
    return this.#choice.value === "file" ? this.own.missing : undefined;
  }

  /** What the chosen rows say; undefined while that is not known. */
  get kind(): RowKind | undefined {
    if (this.bundled) return "examples";
    return this.#choice.value === "file" ? this.own.kind : this.#kept.kind;
  }

  /** What is chosen, for people to read. */
  get words(): string {
    if (this.bundled) return "Questions and answers about tabtune, which come with the page.";
    const name = this.#choice.value === "file" ? this.own.name : this.#kept.name;
    return name === undefined ? "None are chosen yet." : `“${name}”`;
  }

  /** Chooses the rows that come with the page. */
  chooseBundled(): void {
    this.#choice.value = "bundled";
  }

  /** Chooses one of the kept datasets. */
  async choose(name: string): Promise<void> {
    this.#choice.value = "kept";
    await this.#kept.choose(name);
    this.#on_change();
  }

  /** Lists anew what is kept. */
  async refresh(): Promise<void> {
    await this.#kept.refresh().catch(showError);
  }

  /** The rows that were chosen, imported where they are not kept yet. */
  async read(signal: AbortSignal): Promise<ReadRows> {
    const dataset = await this.#dataset(signal);
    const [first] = await dataset.rows(0, 1);
    const { rows: count } = await dataset.info();
    const heldout = await this.#heldoutOf(dataset, signal);
    await this.refresh();
    const question = (first && questionOf(first.row)) ?? null;
    const kind = first ? kindOf(first.row) : "examples";
    return { dataset, heldout, kind, is_chat: first !== undefined && isChat(first.row), count, question };
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
    if (this.bundled) return fetched("data/faq.heldout.jsonl", BUNDLED.heldout, signal);
    if (!this.#heldout) return undefined;
    const dataset = await Dataset.open(`${rows.name}, held out`);
    // Held-out rows are taken to be written as those they are held out from.
    await dataset.import(this.#heldout, { ...remembered.get(rows.name), signal });
    return dataset;
  }
}

/** Rows of this page, imported unless that was done by this version; of two tabs one waits for the other. */
async function fetched(address: string, name: string, signal: AbortSignal): Promise<Dataset> {
  const dataset = await Dataset.open(name);
  const key = `${BUNDLED_VERSION}:${name}`;
  await navigator.locks.request(key, { signal }, async () => {
    if (stored.get(key) === VERSION && (await dataset.info()).rows > 0) return;
    const response = await served(address, signal);
    await dataset.import(await response.blob(), { file_name: address.split("/").at(-1)!, signal });
    stored.set(key, VERSION);
  });
  return dataset;
}
