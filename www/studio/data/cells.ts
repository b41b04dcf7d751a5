import { Dataset, type ImportOptions, type Inspection } from "tabtune";
import type { Picked } from "./pick.js";

/** What a file has in a column, row by row: a text, or what stands there instead. */
export type Column = { name: string; cells: Cell[] };
export type Cell = { text: string } | { instead: string };

/** Columns and rows that are shown; a person looks at no more before they know what a column is. */
const MOST = { columns: 24, rows: 20 };

/** A column of this name is in no file. */
const NONE = "\u0000none";

/**
 * The first rows of a file as they are in it, by column. The package alone knows how the file is read, so that it is asked
 * for each column as if it were both question and answer; of rows where that cannot be it tells the place.
 */
export async function cellsOf({ source }: Picked, { columns }: Inspection, reading: ImportOptions): Promise<Column[]> {
  const asked = columns.slice(0, MOST.columns);
  if (asked.length === 0) return [];
  const look = (column: string) => Dataset.inspect(source, { ...reading, columns: { prompt: column, completion: column }, pairs: "chat" });
  const all = await Promise.all([NONE, ...asked].map(look));
  // Without the column no row can be read, so that the places of all are told.
  const places = all[0]!.bad_rows.map(({ place }) => place).slice(0, MOST.rows);
  return asked.map((name, index) => ({ name, cells: inPlaces(all[index + 1]!, places) }));
}

/** What a column has at each of the places, of which those with a text are not told. */
export function inPlaces({ rows, bad_rows }: Pick<Inspection, "rows" | "bad_rows">, places: number[]): Cell[] {
  const bad = new Map(bad_rows.map(({ place, reason }) => [place, reason]));
  let next = 0;
  return places.map((place) => {
    const reason = bad.get(place);
    if (reason !== undefined) return { instead: insteadOf(reason) };
    return cellOf(rows[next++] as { completion?: unknown } | undefined);
  });
}

function cellOf(row: { completion?: unknown } | undefined): Cell {
  const said = row?.completion;
  if (!Array.isArray(said)) return { text: String(said ?? "") };
  if (said.length === 1) return { text: String(said[0].content) };
  return { instead: `a chat of ${said.length} turns` };
}

/** What is there where there is no text, as far as the package's reason tells. */
function insteadOf(reason: string): string {
  if (/not JSON|fields, where|is never closed|must be an object/.test(reason)) return "not readable";
  const kind = /but (?:is|are) (an? \w+)/.exec(reason)?.[1];
  return kind ?? "empty";
}

/** How many of these are empty. */
export function emptyIn({ cells }: Column): number {
  return cells.filter((cell) => ("text" in cell ? cell.text.trim() === "" : cell.instead === "empty")).length;
}
