import type { Encoding } from "tabtune";
import { readRecord } from "./records.js";

/** What takes the place of a row; null where nothing does. */
export interface Mend {
  /** The line of the file on which the row begins, counted from 1, and how many lines it has. */
  place: number;
  lines: number;
  text: string | null;
}

/** A row as its file has it. */
export interface FoundRow {
  text: string;
  lines: number;
  /** Its cells, where it is one of a table. */
  cells?: string[];
}

/** A file must be read as a whole where it is not UTF-8 text, and a row to be mended. */
export const MOST_BYTES = 64e6;
const LONGEST_ROW = 1 << 20;

/** What stands between the cells of tables, the likeliest first. */
const DELIMITERS = [",", ";", "\t", "|"];

/** Why a file cannot be mended here, in words for people. */
export class NotMendable extends Error {}

/** The file as UTF-8 text of lines, of which each row of a list written as JSON is one. */
export async function asLines(file: File, format: string, encoding: Encoding): Promise<File> {
  const is_packed = /\.gz$/i.test(file.name);
  const is_whole = is_packed || encoding !== "utf-8" || format === "json";
  if (!is_whole) return file;
  if (file.size > MOST_BYTES) throw new NotMendable("The file is too large for that.");
  const stream = is_packed ? file.stream().pipeThrough(new DecompressionStream("gzip")) : file.stream();
  const text = new TextDecoder(encoding).decode(await bytesOf(stream));
  const name = file.name.replace(/\.gz$/i, "");
  return new File([format === "json" ? linesOfList(text) : text], name, { lastModified: file.lastModified });
}

/** The row that begins on that line. Where `delimiter` says how its table is cut, it may have line ends in its cells. */
export async function rowAt(file: Blob, place: number, delimiter?: string): Promise<FoundRow> {
  const [start] = await startsOf(file, [place]);
  if (start === undefined) throw new NotMendable("There is no such line any more.");
  const text = await file.slice(start, start + LONGEST_ROW).text();
  const line = lineIn(text);
  if (line.length === text.length && start + LONGEST_ROW < file.size) throw new NotMendable("The row is too long for that.");
  if (delimiter === undefined) return { text: withoutMark(line, place), lines: 1 };
  const record = readRecord(text, delimiter);
  // A quotation mark that nothing closes would take in all that follows.
  const own = record.is_open ? line : text.slice(0, record.end);
  const { cells } = readRecord(own, delimiter);
  return { text: withoutEnd(own), lines: Math.max(1, withoutEnd(own).split("\n").length), cells };
}

/** What cuts the cells of a table of these columns; nothing where it is none of the usual ones. Without a row no column is known. */
export async function delimiterOf(file: Blob, columns: string[], has_header: boolean): Promise<string | undefined> {
  const text = (await file.slice(0, LONGEST_ROW).text()).replace(/^\ufeff/, "");
  const told = /^"?sep=(.)"?\r?\n/i.exec(text);
  if (told) return told[1];
  const first = (delimiter: string) => readRecord(text.trimStart(), delimiter).cells.map((cell) => cell.trim());
  const fits = (cells: string[]) => (has_header ? columns.every((name) => cells.some((cell) => isNamed(name, cell))) : true) && cells.length >= columns.length;
  if (columns.length > 0) return DELIMITERS.find((delimiter) => fits(first(delimiter)));
  return DELIMITERS.toSorted((one, other) => first(other).length - first(one).length)[0];
}

/** The lines before the first row, without which a row of a table says nothing, and the names in them. */
export async function headerOf(file: Blob, delimiter: string): Promise<{ header: string; names: string[] }> {
  const text = await file.slice(0, LONGEST_ROW).text();
  const told = /^\ufeff?"?sep=."?\r?\n/i.exec(text)?.[0] ?? "";
  const blank = /^\s*/.exec(text.slice(told.length))![0].length;
  const { cells, end } = readRecord(text, delimiter, told.length + blank);
  return { header: text.slice(0, end), names: cells.map((cell) => cell.trim()) };
}

/**
 * The file with what was mended in the place of the rows from before. Nothing of the rest is read: the browser puts it
 * together from parts of the file. The lines that follow keep their numbers, as far as a mended row has no more than before.
 */
export async function mendedFile(file: File, mends: Mend[]): Promise<File> {
  const ordered = [...mends].sort((one, other) => one.place - other.place);
  const wanted = ordered.flatMap(({ place, lines }) => [place, place + lines]);
  const starts = await startsOf(file, wanted);
  const parts: BlobPart[] = [];
  let done = 0;
  ordered.forEach(({ lines, text }, index) => {
    const [start = file.size, end = file.size] = starts.slice(2 * index, 2 * index + 2);
    const written = text === null ? "" : text;
    const blank = Math.max(1, lines - (written.split("\n").length - 1));
    parts.push(file.slice(done, start), written + "\n".repeat(blank));
    done = end;
  });
  parts.push(file.slice(done));
  return new File(parts, file.name, { lastModified: file.lastModified });
}

/** The line of the original file that a line of the mended one was. */
export function originalPlace(place: number, mends: Mend[]): number {
  let more = 0;
  for (const mend of [...mends].sort((one, other) => one.place - other.place)) {
    if (place - more <= mend.place) break;
    more += Math.max(0, (mend.text ?? "").split("\n").length - mend.lines);
  }
  return place - more;
}

/** Where each of the lines begins; nothing for those behind the end. */
async function startsOf(file: Blob, places: number[]): Promise<(number | undefined)[]> {
  const starts = new Map<number, number>([[1, 0]]);
  const wanted = new Set(places);
  const last = Math.max(...places);
  let line = 1;
  let offset = 0;
  const reader = file.stream().getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done || line >= last) break;
    for (let at = value.indexOf(10); at >= 0; at = value.indexOf(10, at + 1)) {
      line += 1;
      if (wanted.has(line)) starts.set(line, offset + at + 1);
    }
    offset += value.length;
  }
  await reader.cancel();
  return places.map((place) => starts.get(place));
}

/** All bytes of a stream; a small packed file may be a very large one. */
async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<ArrayBuffer> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const part of stream as unknown as AsyncIterable<Uint8Array<ArrayBuffer>>) {
    size += part.length;
    if (size > MOST_BYTES) throw new NotMendable("The file is too large for that.");
    parts.push(part);
  }
  return new Blob(parts).arrayBuffer();
}

function linesOfList(text: string): string {
  let list: unknown;
  try {
    list = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch {
    // What is said below holds for it too.
  }
  if (!Array.isArray(list)) throw new NotMendable("It is written as one piece of JSON, which has to be mended as a whole, in an editor for text.");
  return list.map((row) => `${JSON.stringify(row)}\n`).join("");
}

function lineIn(text: string): string {
  const end = text.indexOf("\n");
  return end < 0 ? text : text.slice(0, end + 1);
}

function withoutEnd(text: string): string {
  return text.replace(/\r?\n$/, "");
}

function withoutMark(line: string, place: number): string {
  const text = withoutEnd(line);
  return place === 1 ? text.replace(/^\ufeff/, "") : text;
}

/** Whether a column has the name of a header's cell, to which a number is added where it is there twice. */
function isNamed(name: string, cell: string): boolean {
  return name === cell || name.replace(/\.\d+$/, "") === cell || /^Unnamed: \d+$/.test(name);
}
