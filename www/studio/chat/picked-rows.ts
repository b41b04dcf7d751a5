import { Dataset } from "tabtune";
import { MissingInput } from "../ui/missing.js";
import { isSameRow } from "./preference-rows.js";
import { stored } from "../ui/stored.js";
import { rowsIn } from "../data/stored-rows.js";

const NAMES = "tabtune:picks:";

/** What picks are kept as, each in a dataset of its own. */
export type PickKind = "pairs" | "ratings";

/** The names that people see, and the part that a row of the kind has. */
const KINDS: Record<PickKind, { name: string; part: string; other: string }> = {
  pairs: { name: "picks", part: "chosen", other: "are no pairs of answers" },
  ratings: { name: "ratings", part: "completion", other: "are no ratings" },
};

/** Picks go on to the same rows where these get another name. */
export function renamePicked(from: string, to: string): void {
  for (const kind of Object.keys(KINDS) as PickKind[]) {
    const picked = new PickedRows(kind);
    if (picked.name === from) picked.name = to;
  }
}

/** A dataset that grows row by row as a person picks, and out of which a row can be taken again. */
export class PickedRows {
  readonly #kind: PickKind;

  constructor(kind: PickKind) {
    this.#kind = kind;
  }

  get name(): string {
    return stored.get<string>(NAMES + this.#kind) ?? KINDS[this.#kind].name;
  }

  /** The rows that are picked from now on go there. An empty name stands for the usual one. */
  set name(name: string) {
    if (name.trim()) stored.set(NAMES + this.#kind, name.trim());
    else stored.forget(NAMES + this.#kind);
  }

  open(): Promise<Dataset> {
    return Dataset.open(this.name);
  }

  async count(): Promise<number> {
    return (await (await this.open()).info()).rows;
  }

  /** Adds a row behind the others. */
  add(row: object): Promise<void> {
    return this.#alone(async (dataset) => {
      const { value: first } = await rowsIn(dataset, 0, 1).next();
      const { part, other } = KINDS[this.#kind];
      if (first && !(part in first)) {
        throw new MissingInput(`The rows that are kept as “${dataset.name}” ${other}. Choose another name under “What you picked”.`);
      }
      await dataset.import([row], { if_busy: "wait", append: true });
    });
  }

  /** Takes the last row out, or the last that says the same as `row`. Resolves to it, if there is one. */
  takeOut(row?: object): Promise<object | undefined> {
    return this.#alone(async (dataset) => {
      const rows: object[] = [];
      for await (const kept of rowsIn(dataset)) rows.push(kept);
      const place = row ? rows.findLastIndex((kept) => isSameRow(kept, row)) : rows.length - 1;
      if (place < 0) return undefined;
      const [taken] = rows.splice(place, 1);
      // A dataset cannot be emptied by an import.
      if (rows.length === 0) await dataset.delete();
      else await dataset.import(rows, { if_busy: "wait" });
      return taken;
    });
  }

  /** Reading and writing anew are one, so that no other tab's row is lost in between. */
  async #alone<T>(work: (dataset: Dataset) => Promise<T>): Promise<T> {
    const dataset = await this.open();
    return navigator.locks.request(NAMES + dataset.name, () => work(dataset)) as Promise<T>;
  }
}
