import { computed, effect, signal } from "@preact/signals";
import { Dataset } from "tabtune";
import type { RowKind } from "../chat/preference-rows.js";
import { count } from "../ui/format.js";
import { MissingInput } from "../ui/missing.js";
import { remembered } from "../ui/remembered.js";
import type { Cells } from "./clipboard.js";
import { Draft } from "./draft.js";
import { GRID_KINDS, GridRows, type GridKind } from "./grid-rows.js";
import { TYPED } from "./origins.js";

/** What was typed, as it is kept over a reload. */
interface TypedDraft {
  kind: GridKind;
  name: string;
  /** The dataset that it last became. */
  of: string | null;
  cells: Cells;
}

/** How long nothing more is typed before what was typed is kept. */
const PAUSE_MILLIS = 400;

const NAME = "My rows";

const NEEDED: Record<GridKind, string> = {
  pairs: "Type at least one question with its answer.",
  texts: "Type at least one text.",
  picks: "Type at least one question with a better and a worse answer.",
};

/** Rows that are typed or pasted into a grid, which become a dataset when they are used. */
export class TypedRows {
  readonly grid = new GridRows();
  /** What they are kept as. */
  readonly name = signal(NAME);
  /** What was last done with them. */
  readonly told = signal("");
  /** What the name stands for already. */
  readonly taken = signal("");
  /** Whether all is a dataset as it stands. */
  readonly is_used = computed(() => this.#saying.value === this.#used.value);
  readonly #saying = computed(() => JSON.stringify([this.name.value.trim(), this.grid.toRows()]));
  readonly #used = signal("");
  readonly #draft = new Draft<TypedDraft>("typed", 1, ({ kind, name, cells }) => kind in GRID_KINDS && typeof name === "string" && cells.every(Array.isArray));
  #of: string | null = null;
  #later: ReturnType<typeof setTimeout> | undefined;

  /** Takes up what was typed before. `on_change` is told when the rows can be used, or no more, or are of another kind. */
  begin(on_change: () => void): void {
    const draft = this.#draft.get();
    if (draft) {
      this.grid.fill(draft.kind, draft.cells);
      this.name.value = draft.name;
      this.#of = draft.of;
    }
    effect(() => {
      void [this.grid.rows.value, this.grid.kind.value, this.name.value];
      clearTimeout(this.#later);
      this.#later = setTimeout(() => this.#keep(), PAUSE_MILLIS);
    });
    // What was typed in the last moment counts too.
    addEventListener("pagehide", () => this.#keep());
    let told = "";
    effect(() => {
      const state = [this.missing, this.kind, this.name.value, this.is_used.value].join();
      if (state === told) return;
      told = state;
      // Nothing that is asked of others by this is a reason to be told again.
      queueMicrotask(on_change);
    });
  }

  get missing(): string | undefined {
    if (this.grid.finished.value.length === 0) return NEEDED[this.grid.kind.value];
    return this.name.value.trim() === "" ? "Give the rows a name." : undefined;
  }

  get kind(): RowKind {
    return this.grid.kind.value === "picks" ? "pairs" : "examples";
  }

  /** Whether something would be lost if others took the place of what is there. */
  get is_unkept(): boolean {
    return this.grid.filled.value.length > 0 && !this.is_used.value;
  }

  /** Shows the rows of a dataset, to be edited. */
  open(name: string, kind: GridKind, cells: Cells): void {
    this.grid.fill(kind, cells);
    this.name.value = name;
    this.#of = name;
    this.told.value = `${count(cells.length, "row")} of “${name}”. What you change is kept when you use them.`;
    this.taken.value = "";
    this.#used.value = this.#saying.value;
  }

  /** Begins anew, under a name that nothing has. */
  async clear(): Promise<void> {
    const before = this.name.value;
    this.grid.fill(this.grid.kind.value, []);
    this.#of = null;
    this.told.value = this.taken.value = this.#used.value = "";
    const names = new Set((await Dataset.list()).map(({ name }) => name));
    let number = 1;
    const name = () => (number === 1 ? NAME : `${NAME} ${number}`);
    while (names.has(name())) number++;
    // Looking up what is kept takes a moment, in which a person may already write.
    if (this.name.value === before) this.name.value = name();
  }

  /** Says what the name stands for, if for anything else. */
  async lookUpName(): Promise<void> {
    const name = this.name.value.trim();
    const rows = name === "" || name === this.#of ? 0 : (await (await Dataset.open(name)).info()).rows;
    this.taken.value = rows > 0 ? `Takes the place of ${count(rows, "row")} kept under this name.` : "";
  }

  /** The dataset of the rows, which is made where it is not there as they stand. */
  async read(signal: AbortSignal): Promise<Dataset> {
    if (this.missing !== undefined) throw new MissingInput(this.missing);
    const name = this.name.value.trim();
    const dataset = await Dataset.open(name);
    if (this.is_used.value && (await dataset.info()).rows > 0) return dataset;
    await this.lookUpName();
    if (this.taken.value !== "" && !confirm(`“${name}” is kept already. ${this.taken.value}`)) throw new MissingInput("Give the rows another name.");
    const saying = this.#saying.value;
    const rows = this.grid.toRows();
    const options = { pairs: "chat" } as const;
    await dataset.import(rows, { ...options, file_name: TYPED, signal });
    remembered.set(name, options);
    this.#of = name;
    this.#used.value = saying;
    this.taken.value = "";
    this.told.value = `${count(rows.length, "row")} kept as “${name}”.`;
    this.#keep();
    return dataset;
  }

  #keep(): void {
    const cells = this.grid.filled.value.map((row) => [...row.cells]);
    if (cells.length === 0 && this.#of === null) return this.#draft.forget();
    const is_kept = this.#draft.set({ kind: this.grid.kind.value, name: this.name.value, of: this.#of, cells });
    if (!is_kept && this.is_unkept) this.told.value = "This is too much to stay after a reload. Use these rows to keep them.";
  }
}
