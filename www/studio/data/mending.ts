import { signal } from "@preact/signals";
import { Dataset, type BadRow, type ImportOptions, type Inspection } from "tabtune";
import { asLines, delimiterOf, headerOf, mendedFile, NotMendable, originalPlace, rowAt, type Mend } from "./mended.js";
import { messageOf } from "../shell/errors.js";
import { writeRecord } from "./records.js";

/** A row that cannot be used as it is, and what became of it. */
export interface BadItem {
  row: BadRow;
  state: "bad" | "mended" | "left out";
}

/** A row as it is mended: its text, or its cells by column. */
export interface Editing {
  place: number;
  lines: number;
  /** What the fields are called; one without a name is the row's text. */
  columns: string[];
  fields: string[];
  write(fields: string[]): string;
}

/** A file, and how it is read. */
export interface ReadFile {
  file: File;
  inspection: Inspection;
  options: ImportOptions;
}

/** What a table's cells are cut by, and what stands before its first row. */
interface TableForm {
  delimiter: string;
  header: string;
  columns: string[];
}

/** What cannot be changed here, by format. */
const SEALED: Partial<Record<Inspection["format"], string>> = {
  rows: "A Parquet file cannot be changed here. Leave the row out, or mend it in the program that wrote the file.",
  sheet: "An Excel workbook cannot be changed here. Leave the row out, or mend it in the workbook.",
};

/** Rows that cannot be used, mended in place or left out. The file itself stays as it is. */
export class Mending {
  readonly items = signal<BadItem[]>([]);
  /** Whether there may be more of them than are known. */
  readonly has_more = signal(false);
  readonly #mends = new Map<number, Mend>();
  #read: ReadFile | undefined;
  /** The file as lines of UTF-8, once it was asked for. */
  #lines: Promise<File> | undefined;
  #source: Promise<File> | undefined;

  /** Begins anew, for a file, or for data that is no single file. */
  reset(mends: Mend[] = []): void {
    this.#mends.clear();
    for (const mend of mends) this.#mends.set(mend.place, mend);
    this.items.value = [];
    this.has_more.value = false;
    this.#read = this.#lines = this.#source = undefined;
  }

  /** A file, as it is read now; nothing where it is none, or not looked at yet. */
  follow(read: ReadFile | undefined): void {
    const is_other = read?.file !== this.#read?.file || read?.options.encoding !== this.#read?.options.encoding;
    this.#read = read;
    if (is_other) this.#lines = this.#source = undefined;
  }

  /** The same file is read in another way, its bytes as before. */
  readBy(options: ImportOptions): void {
    if (this.#read) this.#read = { ...this.#read, options };
  }

  get mends(): Mend[] {
    return [...this.#mends.values()];
  }

  /** These rows of what is read now are bad, and none else that is known. Those that were mended stay in the list. */
  show(rows: BadRow[]): void {
    this.items.value = this.items.value.filter(({ state }) => state !== "bad");
    this.add(rows);
  }

  /** These are bad as well; `has_more` tells whether reading ended before it had met all. */
  add(rows: BadRow[], has_more = false): void {
    const known = new Set(this.items.value.map(({ row }) => keyOf(row)));
    const found = rows.map((row) => ({ ...row, place: originalPlace(row.place, this.mends) }));
    const bad = found.filter((row) => !known.has(keyOf(row))).map((row): BadItem => ({ row, state: "bad" }));
    this.items.value = [...this.items.value, ...bad].sort((one, other) => one.row.place - other.row.place);
    this.has_more.value = has_more;
  }

  /** Why rows of this data cannot be mended; undefined where they can. */
  get sealed(): string | undefined {
    if (!this.#read) return "Of several files, rows are mended in the files themselves. Or choose the one file alone.";
    const { format, notices } = this.#read.inspection;
    if (notices.some(({ code }) => code === "encoding")) return "Say first whether the letters of the rows are right.";
    return SEALED[format];
  }

  /** The file as it is read now, with what was mended; nothing where nothing was. */
  async source(): Promise<File | undefined> {
    if (!this.#read || this.#mends.size === 0) return undefined;
    return (this.#source ??= this.#asLines().then((file) => mendedFile(file, this.mends)));
  }

  /** A row, to be mended. */
  async open({ row }: BadItem): Promise<Editing> {
    const { place } = row;
    const kept = this.#mends.get(place);
    const file = await this.#asLines();
    const table = await this.#table(file);
    const found = await rowAt(file, place, table?.delimiter);
    const text = kept?.text ?? found.text;
    if (!table) return { place, lines: found.lines, columns: [""], fields: [text], write: ([text = ""]) => text.replaceAll("\n", " ") };
    const { columns, delimiter } = table;
    return { place, lines: found.lines, columns, fields: fitted(found.cells!, columns.length, delimiter), write: (fields) => writeRecord(fields, delimiter) };
  }

  /** What is wrong with a row as it would be mended; nothing where it can be used. */
  async problemOf(editing: Editing, fields: string[]): Promise<string | undefined> {
    if (fields.every((field) => field.trim() === "")) return "There is nothing in it.";
    const { file, options } = this.#read!;
    const header = (await this.#table(await this.#asLines()))?.header ?? "";
    const alone = new File([header, editing.write(fields), "\n"], file.name.replace(/\.gz$/i, ""));
    try {
      const { rows, bad_rows, problem } = await Dataset.inspect(alone, withoutEncoding(options));
      return rows.length === 1 ? undefined : (bad_rows[0]?.reason ?? problem ?? "It is not one row.");
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  keep(editing: Editing, fields: string[]): void {
    this.#put({ place: editing.place, lines: editing.lines, text: editing.write(fields) }, "mended");
  }

  async leaveOut(item: BadItem): Promise<void> {
    const { place, lines } = await this.open(item);
    this.#put({ place, lines, text: null }, "left out");
  }

  /** The row is as it was, and bad. */
  undo({ row }: BadItem): void {
    this.#mends.delete(row.place);
    this.#source = undefined;
    this.items.value = this.items.value.map((item) => (item.row.place === row.place ? { row: item.row, state: "bad" } : item));
  }

  #put(mend: Mend, state: BadItem["state"]): void {
    this.#mends.set(mend.place, mend);
    this.#source = undefined;
    this.items.value = this.items.value.map((item) => (item.row.place === mend.place ? { row: item.row, state } : item));
  }

  #asLines(): Promise<File> {
    if (this.sealed !== undefined) throw new NotMendable(this.sealed);
    const { file, inspection } = this.#read!;
    return (this.#lines ??= asLines(file, inspection.format, inspection.encoding));
  }

  async #table(file: File): Promise<TableForm | undefined> {
    const { inspection, options } = this.#read!;
    if (inspection.format !== "csv" && inspection.format !== "tsv") return undefined;
    const has_header = options.header !== false;
    const delimiter = await delimiterOf(file, inspection.columns, has_header);
    if (delimiter === undefined) return undefined;
    const { header, names } = await headerOf(file, delimiter);
    // Without a row before it the names are in the header alone.
    const columns = inspection.columns.length > 0 ? inspection.columns : has_header ? names : names.map((_, index) => String(index));
    return { delimiter, header: has_header ? header : "", columns };
  }
}

/** Where a row stands, which no other row has. */
export function keyOf({ file, place }: BadRow): string {
  return `${file} ${place}`;
}

/** What is read as lines is UTF-8, whatever the file was. */
export function withoutEncoding({ encoding: _, ...options }: ImportOptions): ImportOptions {
  return options;
}

/** As many cells as there are columns: what is too much was most likely cut off from the last one, by a delimiter of its text. */
function fitted(cells: string[], columns: number, delimiter: string): string[] {
  const last = cells.slice(columns - 1).join(delimiter);
  return Array.from({ length: columns }, (_, index) => (index === columns - 1 ? last : (cells[index] ?? "")));
}

/** Why a row cannot be used, in words for people who do not write such files by hand. */
export function reasonWords(reason: string): string {
  const fields = /^(\d+) fields, where the header has (\d+)/.exec(reason);
  if (fields) return `It has ${fields[1]} cells where the table has ${fields[2]} columns. Perhaps a text in it has what stands between cells.`;
  if (/is never closed/.test(reason)) return "A quotation mark is opened in it and never closed, so that all that follows is part of it.";
  const has = /^a row needs .*, but has (.*); name the columns/s.exec(reason);
  if (has) return `It has not all that a row needs, but only ${has[1]}.`;
  if (/^not JSON/.test(reason)) return `The line breaks off, or a mark in it is missing or too many (${reason}).`;
  return reason;
}
