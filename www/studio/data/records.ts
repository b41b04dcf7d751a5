/** One row of a table, as its file has it. */
export interface TableRecord {
  cells: string[];
  /** Where the next one begins in the text. */
  end: number;
  /** Whether a quotation mark is open at its end, so that it may not end there. */
  is_open: boolean;
}

/** The record that begins at `start`: cells are cut by the delimiter, and one in quotes may hold anything. */
export function readRecord(text: string, delimiter: string, start = 0): TableRecord {
  const cells: string[] = [];
  let at = start;
  let is_open = false;
  for (;;) {
    const quoted = text[at] === '"' ? quotedAt(text, at, delimiter) : undefined;
    if (quoted === "open") is_open = true;
    // A mark that nothing closes is one of the text, as people type it.
    const { value, end } = typeof quoted === "object" ? quoted : bareAt(text, at, delimiter);
    cells.push(value);
    if (text[end] !== delimiter) return { cells, end: behindLineEnd(text, end), is_open };
    at = end + 1;
  }
}

/** All records of a text, up to `most`; blank lines are none. */
export function readRecords(text: string, delimiter: string, most: number): string[][] {
  const records: string[][] = [];
  for (let at = 0; at < text.length && records.length < most; ) {
    const { cells, end } = readRecord(text, delimiter, at);
    if (cells.some((cell) => cell.trim() !== "")) records.push(cells);
    at = end;
  }
  return records;
}

/** Cells as one line of a file, or several where a cell has line ends in it. */
export function writeRecord(cells: string[], delimiter: string): string {
  const needs_quotes = (cell: string) => cell.includes(delimiter) || /["\r\n]/.test(cell);
  return cells.map((cell) => (needs_quotes(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)).join(delimiter);
}

/** A cell in quotes; "open" where none closes it, and nothing where more text follows behind the closing one. */
function quotedAt(text: string, start: number, delimiter: string): { value: string; end: number } | "open" | undefined {
  for (let at = start + 1; ; at += 2) {
    at = text.indexOf('"', at);
    if (at < 0) return "open";
    if (text[at + 1] === '"') continue;
    const is_over = at + 1 === text.length || [delimiter, "\r", "\n"].includes(text[at + 1]!);
    return is_over ? { value: text.slice(start + 1, at).replaceAll('""', '"'), end: at + 1 } : undefined;
  }
}

function bareAt(text: string, start: number, delimiter: string): { value: string; end: number } {
  let end = start;
  while (end < text.length && text[end] !== delimiter && text[end] !== "\n" && text[end] !== "\r") end++;
  return { value: text.slice(start, end), end };
}

function behindLineEnd(text: string, at: number): number {
  if (text[at] === "\r" && text[at + 1] === "\n") return at + 2;
  return Math.min(text.length, at + 1);
}
