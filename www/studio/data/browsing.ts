import { computed, signal } from "@preact/signals";
import { Dataset } from "tabtune";
import { count } from "../ui/format.js";
import { MissingInput } from "../ui/missing.js";
import { remembered } from "../ui/remembered.js";
import { givenOf } from "./given.js";
import { MOST_ROWS } from "./grid-rows.js";
import { sayingsOf } from "./saying.js";
import { rowsIn } from "./stored-rows.js";

/** Rows that are shown at once. */
const AT_ONCE = 10;

/** Rows that a search goes through, and that it finds, at most. */
const SEARCH = { through: 20_000, found: 200 };

/** A row, and its place among the rows of its dataset, from 0. */
export interface PlacedRow {
  place: number;
  row: object;
}

/** What the person must say yes to before rows are changed. */
export interface Changes {
  /** Names of runs that could not go on. */
  needing(dataset: string): string[];
  changed(dataset: string): void;
}

/** The rows of a kept dataset, to be looked through, found, and changed one by one where they are few. */
export class Browsing {
  readonly name = signal<string | undefined>(undefined);
  readonly total = signal(0);
  readonly first = signal(0);
  readonly shown = signal<readonly PlacedRow[]>([]);
  /** What was searched for, and all that was found; undefined where all rows are shown. */
  readonly found = signal<{ words: string; rows: readonly PlacedRow[]; note: string } | undefined>(undefined);
  readonly can_change = signal(false);
  readonly at_once = AT_ONCE;
  readonly end = computed(() => this.first.value + this.shown.value.length);
  readonly count = computed(() => this.found.value?.rows.length ?? this.total.value);
  readonly #changes: Changes;

  constructor(changes: Changes) {
    this.#changes = changes;
  }

  async open(name: string): Promise<void> {
    const { rows } = await (await Dataset.open(name)).info();
    this.name.value = name;
    this.total.value = rows;
    this.found.value = undefined;
    this.can_change.value = rows <= MOST_ROWS;
    await this.goTo(0);
  }

  close(): void {
    this.name.value = undefined;
    this.shown.value = [];
    this.found.value = undefined;
  }

  /** Shows the rows from that one on, of all or of those that were found. */
  async goTo(first: number): Promise<void> {
    const name = this.name.value;
    if (name === undefined) return;
    const found = this.found.value;
    const rows = found ? found.rows.slice(first, first + AT_ONCE) : await this.#read(name, first);
    if (name !== this.name.value || found !== this.found.value) return;
    this.first.value = first;
    this.shown.value = rows;
  }

  /** Finds the rows in which these words stand, whatever their case. */
  async search(words: string): Promise<void> {
    const name = this.name.value;
    if (name === undefined) return;
    const wanted = words.trim().toLowerCase();
    if (wanted === "") {
      this.found.value = undefined;
      return this.goTo(0);
    }
    const rows: PlacedRow[] = [];
    let place = 0;
    for await (const row of rowsIn(await Dataset.open(name), 0, SEARCH.through)) {
      if (sayingsOf(row).some(({ text }) => text.toLowerCase().includes(wanted))) rows.push({ place, row });
      place++;
      if (rows.length === SEARCH.found) break;
    }
    const was_cut = place < this.total.value ? ` Looked at the first ${count(place, "row")} only.` : "";
    this.found.value = { words, rows, note: `${count(rows.length, "row")} with “${words.trim()}”.${was_cut}` };
    await this.goTo(0);
  }

  /** Puts another row in the place of one, or leaves it out, after a question. Whether it was done. */
  async change(place: number, row: object | undefined): Promise<boolean> {
    const name = this.name.value;
    if (name === undefined || !confirm(this.#question(name, row === undefined))) return false;
    const dataset = await Dataset.open(name);
    const rows: object[] = [];
    for await (const kept of rowsIn(dataset)) rows.push(kept);
    const changed = row === undefined ? rows.toSpliced(place, 1) : rows.with(place, row);
    if (changed.length === 0) throw new MissingInput("This is the last row. Delete the dataset instead.");
    const given = changed.map(givenOf);
    if (given.includes(undefined)) throw new MissingInput("Rated rows of a table cannot be changed here. Change them in their file, and import it again.");
    const [file_name = name] = (await dataset.info()).files;
    await dataset.import(given as object[], { file_name });
    // An import of these rows from their file is another one now.
    remembered.forget(name);
    this.#changes.changed(name);
    const [first, words] = [this.first.value, this.found.value?.words];
    this.total.value = changed.length;
    if (words !== undefined) await this.search(words);
    await this.goTo(Math.max(0, Math.min(first, this.count.value - 1)));
    return true;
  }

  #question(name: string, is_deletion: boolean): string {
    const runs = this.#changes.needing(name).map((run) => `“${run}”`).join(", ");
    const loss = runs && ` ${runs} could not go on then, as it needs the rows as they are.`;
    return `${is_deletion ? "Leave this row out of" : "Change this row of"} “${name}”?${loss} The file that the rows came from stays as it is.`;
  }

  async #read(name: string, first: number): Promise<PlacedRow[]> {
    const rows: PlacedRow[] = [];
    for await (const row of rowsIn(await Dataset.open(name), first, first + AT_ONCE)) rows.push({ place: first + rows.length, row });
    return rows;
  }
}
