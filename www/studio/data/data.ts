import { effect } from "@preact/signals";
import { Dataset, VERSION } from "tabtune";
import { Browsing } from "./browsing.js";
import type { Cells } from "./clipboard.js";
import { Choice } from "../ui/choice.js";
import { element, write } from "../ui/dom.js";
import { showError } from "../shell/errors.js";
import { gridOf } from "./grid-rows.js";
import { KeptRows, type Work } from "./kept.js";
import { OwnRows } from "./own.js";
import { watchHeldout } from "./pick.js";
import { writeRecord } from "./records.js";
import { reveal } from "../shell/places.js";
import { rowsIn } from "./stored-rows.js";
import { TypedRows } from "./typed.js";
import { drawViews } from "./views.js";
import { chosenWay, type Way } from "./ways.js";
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
  /** Resolves once it shows what was chosen when the page was last open. */
  readonly begun: Promise<void>;
  readonly #typed = new TypedRows();
  readonly #kept: KeptRows;
  readonly #browsing: Browsing;
  readonly #choice: Choice;
  readonly #work: Work;
  readonly #on_change: () => void;
  #heldout: File | undefined;

  /** `on_change` is told when other rows are chosen, or are to be read in another way. */
  constructor(work: Work, on_change: () => void) {
    this.#work = work;
    this.#on_change = on_change;
    // What was imported is found among the kept ones when the page is opened again.
    this.own = new OwnRows(on_change, (name) => void chosenWay.set({ way: "kept", kept: name }));
    const uses = { look: (name: string) => this.#browse(name), edit: (name: string) => work.doing(() => this.#edit(name)) };
    this.#kept = new KeptRows(Object.values(BUNDLED), work, uses, () => {
      this.#keepWay();
      on_change();
    });
    this.#browsing = new Browsing({ needing: (name) => work.needing(name), changed: () => void this.refresh() });
    this.#choice = new Choice("data", () => {
      this.#keepWay();
      on_change();
      void this.refresh();
    }, "rows-part");
    watchHeldout((file) => (this.#heldout = file));
    drawViews({
      own: this.own,
      typed: this.#typed,
      browsing: this.#browsing,
      onWide: (table) => this.#mapPasted(table),
      doing: (work_) => work.doing(work_),
    });
    this.#watchTyped();
    this.begun = this.#begin().catch(showError);
  }

  get bundled(): boolean {
    return this.#way === "bundled";
  }

  /** What the person has to say before the rows can be used. */
  get missing(): string | undefined {
    if (this.#way === "type") return this.#typed.missing;
    if (this.#way === "file") return this.own.missing;
    return this.#way === "kept" ? this.#kept.missing : undefined;
  }

  /** What the chosen rows say; undefined while that is not known. */
  get kind(): RowKind | undefined {
    const kinds = { bundled: "examples", type: this.#typed.kind, file: this.own.kind, kept: this.#kept.kind } as const;
    return kinds[this.#way];
  }

  /** What is chosen, for people to read. */
  get words(): string {
    if (this.bundled) return "The example rows: questions and answers about tabtune.";
    return this.name ? `“${this.name}”` : "None are chosen yet.";
  }

  /** The dataset that the chosen rows are or become; undefined while the person still has to say something of them. */
  get name(): string | undefined {
    const names = { type: this.#typed.name.value.trim(), file: this.own.name, kept: this.#kept.name, bundled: BUNDLED.rows };
    return this.missing === undefined ? names[this.#way] : undefined;
  }

  /** Chooses the rows that come with the page. */
  chooseBundled(): void {
    this.#choice.value = "bundled";
  }

  /** Chooses one of the kept datasets. */
  async choose(name: string): Promise<void> {
    this.#choice.value = "kept";
    await this.#kept.choose(name);
    this.#keepWay();
    this.#on_change();
  }

  /** Kept rows have another name now. */
  async renamed(from: string, to: string): Promise<void> {
    await this.#kept.renamed(from, to);
    if (this.#browsing.name.value === from) await this.#browsing.open(to);
  }

  get #way(): Way {
    return this.#choice.value as Way;
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
    switch (this.#way) {
      case "bundled":
        return fetched("data/faq.jsonl", BUNDLED.rows, signal);
      case "type":
        return this.#typed.read(signal);
      case "file":
        return this.own.read(signal);
      default:
        return this.#kept.read();
    }
  }

  /** Shows what was chosen when the page was last open. */
  async #begin(): Promise<void> {
    const before = chosenWay.get();
    // Those who are told of changes are not there before this form is.
    await null;
    this.#typed.begin(() => this.#way === "type" && this.#on_change());
    if (before) this.#choice.value = before.way;
    await this.refresh();
    if (before?.way === "kept" && before.kept !== null && this.#way === "kept" && this.#kept.name === undefined) await this.choose(before.kept);
    await this.own.restore();
  }

  #keepWay(): void {
    chosenWay.set({ way: this.#way, kept: this.#kept.name ?? null });
  }

  #watchTyped(): void {
    const name = element<HTMLInputElement>("typed-name");
    effect(() => {
      if (name.value !== this.#typed.name.value) name.value = this.#typed.name.value;
    });
    effect(() => write("typed-taken", this.#typed.taken.value));
    name.addEventListener("input", () => (this.#typed.name.value = name.value));
    name.addEventListener("change", () => void this.#typed.lookUpName().catch(showError));
    element("typed-use").addEventListener("click", () => {
      this.#work.doing(async () => {
        await this.#typed.read(new AbortController().signal);
        await this.refresh();
      });
    });
    element("typed-new").addEventListener("click", () => {
      if (this.#typed.is_unkept && !confirm("Begin anew? What is typed here and not used yet is lost.")) return;
      void this.#typed.clear().catch(showError);
    });
  }

  /** A table with more columns than can be typed is read as a file, whose columns are chosen from. */
  #mapPasted(table: Cells): void {
    const lines = table.map((cells) => `${writeRecord(cells, ",")}\n`);
    this.#choice.value = "file";
    this.own.take({ source: new File(lines, "pasted.csv"), name: "pasted.csv" });
  }

  #browse(name: string): void {
    this.#work.doing(async () => {
      await this.#browsing.open(name);
      reveal("browse", "nearest");
    });
  }

  /** Opens the rows of a kept dataset where they can be typed, or one by one where they say more than that. */
  async #edit(name: string): Promise<void> {
    const rows: object[] = [];
    for await (const row of rowsIn(await Dataset.open(name))) rows.push(row);
    const grid = gridOf(rows);
    if (!grid) return this.#browsing.open(name).then(() => reveal("browse", "nearest"));
    const is_lost = this.#typed.is_unkept && this.#typed.name.value.trim() !== name;
    if (is_lost && !confirm("Rows that you have typed are not used yet, and are lost if you open others. Open them?")) return;
    this.#typed.open(name, grid.kind, grid.cells);
    this.#choice.value = "type";
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
