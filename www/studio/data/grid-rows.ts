import { computed, signal } from "@preact/signals";
import { isHeader, type Cells } from "./clipboard.js";

/** What the rows of the grid are. */
export type GridKind = "pairs" | "texts" | "picks";

/** The columns of each kind: what they are called here, and in the rows that come of them. */
export const GRID_KINDS: Record<GridKind, { label: string; columns: string[]; parts: string[] }> = {
  pairs: { label: "Question and answer", columns: ["Question", "Answer"], parts: ["question", "answer"] },
  texts: { label: "Text", columns: ["Text"], parts: ["text"] },
  picks: { label: "Better and worse answer", columns: ["Question", "Better answer", "Worse answer"], parts: ["prompt", "chosen", "rejected"] },
};

/** One row of the grid. What a kind with fewer columns does not show is kept. */
export interface GridRow {
  /** The same as long as the row is there, wherever it stands. */
  key: number;
  cells: readonly string[];
}

/** Rows that are typed; what has more is better kept in a file. */
export const MOST_ROWS = 2000;

/** Pastes and deletions that can be taken back. */
const MOST_UNDONE = 20;

const COLUMNS = 3;

/** Rows as they are typed, pasted and deleted. An empty one always stands at the end. */
export class GridRows {
  readonly kind = signal<GridKind>("pairs");
  readonly rows = signal<readonly GridRow[]>([]);
  readonly #before = signal<readonly (readonly GridRow[])[]>([]);
  /** Whether a paste or a deletion can be taken back. */
  readonly can_undo = computed(() => this.#before.value.length > 0);
  /** Rows with something in them. */
  readonly filled = computed(() => this.rows.value.filter((row) => !this.#isEmpty(row)));
  /** Rows that say all that the kind asks for. */
  readonly finished = computed(() => this.filled.value.filter(({ cells }) => this.#shown(cells).every((cell) => cell.trim() !== "")));
  #last_key = 0;

  constructor() {
    this.rows.value = [this.#row([])];
  }

  /** Takes other rows in place of all that are there. */
  fill(kind: GridKind, cells: Cells): void {
    this.kind.value = kind;
    this.#before.value = [];
    this.#set(cells.slice(0, MOST_ROWS).map((row) => this.#row(row)));
  }

  write(key: number, column: number, text: string): void {
    this.#set(this.rows.value.map((row) => (row.key === key ? { key, cells: row.cells.with(column, text) } : row)));
  }

  remove(key: number): void {
    this.#remember();
    this.#set(this.rows.value.filter((row) => row.key !== key));
  }

  removeAll(): void {
    this.#remember();
    this.#set([]);
  }

  /**
   * Writes a table over the cells from that one on, and tells how many of its rows were taken, and whether its first line
   * was left out because it holds names.
   */
  paste(key: number, column: number, table: Cells): { taken: number; had_header: boolean } {
    this.#remember();
    const first = Math.max(0, this.rows.value.findIndex((row) => row.key === key));
    const had_header = table.length > 1 && isHeader(table[0]!);
    const rows = [...this.rows.value];
    const fitting = table.slice(had_header ? 1 : 0, MOST_ROWS - first + (had_header ? 1 : 0));
    fitting.forEach((cells, index) => {
      const row = rows[first + index] ?? this.#row([]);
      const written = row.cells.map((cell, place) => (place < column || place >= this.#width ? cell : (cells[place - column] ?? cell)));
      rows[first + index] = { key: row.key, cells: written };
    });
    this.#set(rows);
    return { taken: fitting.length, had_header };
  }

  undo(): void {
    const before = this.#before.value.at(-1);
    if (!before) return;
    this.#before.value = this.#before.value.slice(0, -1);
    this.#set(before);
  }

  /** The finished rows, as the package takes them. */
  toRows(): object[] {
    const { parts } = GRID_KINDS[this.kind.value];
    return this.finished.value.map(({ cells }) => Object.fromEntries(parts.map((part, index) => [part, cells[index]!.trim()])));
  }

  get #width(): number {
    return GRID_KINDS[this.kind.value].columns.length;
  }

  #shown(cells: readonly string[]): readonly string[] {
    return cells.slice(0, this.#width);
  }

  #isEmpty({ cells }: GridRow): boolean {
    return cells.every((cell) => cell.trim() === "");
  }

  #row(cells: readonly string[]): GridRow {
    return { key: ++this.#last_key, cells: Array.from({ length: COLUMNS }, (_, index) => String(cells[index] ?? "")) };
  }

  #remember(): void {
    this.#before.value = [...this.#before.value, this.rows.value].slice(-MOST_UNDONE);
  }

  #set(rows: readonly GridRow[]): void {
    const last = rows.at(-1);
    const has_room = last !== undefined && this.#isEmpty(last);
    this.rows.value = has_room || rows.length >= MOST_ROWS ? rows : [...rows, this.#row([])];
  }
}

/** Kept rows as the grid shows them; nothing where one says more than the grid can, or not the same as the others. */
export function gridOf(rows: object[]): { kind: GridKind; cells: Cells } | undefined {
  const read = rows.map(cellsOf);
  const kind = read[0]?.kind;
  if (!kind || read.some((row) => row?.kind !== kind)) return undefined;
  return { kind, cells: read.map((row) => row!.cells) };
}

function cellsOf(row: object): { kind: GridKind; cells: string[] } | undefined {
  const { prompt, completion, chosen, rejected, messages, text, label } = row as Record<string, unknown>;
  if (label !== undefined) return undefined;
  if (typeof text === "string") return { kind: "texts", cells: [text] };
  if (chosen !== undefined) return asRow("picks", [said(prompt, "user"), said(chosen, "assistant"), said(rejected, "assistant")]);
  const turns = Array.isArray(messages) && messages.length === 2 ? messages : undefined;
  // Bare text is learnt otherwise than a question and its answer.
  const pair = turns ? [[turns[0]], [turns[1]]] : [prompt, completion];
  return asRow("pairs", [said(pair[0], "user"), said(pair[1], "assistant")]);
}

/** What a list of one message by that role says. */
function said(turns: unknown, role: string): string | undefined {
  if (!Array.isArray(turns) || turns.length !== 1) return undefined;
  const [turn] = turns as { role: string; content: unknown }[];
  return turn?.role === role && typeof turn.content === "string" ? turn.content : undefined;
}

function asRow(kind: GridKind, cells: (string | undefined)[]): { kind: GridKind; cells: string[] } | undefined {
  return cells.includes(undefined) ? undefined : { kind, cells: cells as string[] };
}
