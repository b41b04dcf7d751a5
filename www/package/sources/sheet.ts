import { walk } from "./xml.js";

/** The parts of a workbook that say what stands in a sheet, as XML. */
export interface SheetParts {
  sheet: string;
  /** Texts that cells refer to. */
  strings: string;
  /** Which numbers are dates. */
  styles: string;
  /** Whether days are counted from 1904, as old Macs did, instead of 1900. */
  is_1904: boolean;
}

/**
 * The rows and columns that a sheet may have, and the cells that its rows may span: one that stands far to the right
 * makes all before it empty fields.
 */
const MOST = { rows: 1 << 20, columns: 1 << 14, cells: 50_000_000 };

/** Number formats of dates and times that every workbook knows without naming them. */
const DATE_FORMATS = [[14, 22], [27, 36], [45, 47], [50, 58]];

const DAY_MILLIS = 86_400_000;
/** 1970-01-01 in days since the start of the year 1900, as Excel counts them. */
const EPOCH = 25_569;
/** Days between the two starts of counting. */
const TO_1904 = 1462;

/** What stands in the cells of a sheet, row by row. Rows that are not there are empty; cells are holes in their row. */
export function recordsOf({ sheet, strings, styles, is_1904 }: SheetParts): string[][] {
  const texts = textsOf(strings);
  const date_styles = dateStyles(styles);
  const records: string[][] = [];
  let record: string[] = [];
  let cells = 0;
  let cell: { column: number; type: string; style: number; value: string; text: string } | undefined;
  /** Whether the text belongs to a value, or to a text that stands in the cell itself. */
  let inside: "value" | "text" | undefined;
  let is_phonetic = false;
  walk(sheet, {
    open(element, attributes) {
      if (element === "row") {
        const number = Number(attributes.get("r") ?? records.length + 1);
        if (!(number > records.length && number <= MOST.rows)) throw new Error(`row ${attributes.get("r")}`);
        while (records.length < number - 1) records.push([]);
        record = [];
      } else if (element === "c") {
        const column = columnOf(attributes.get("r")) ?? record.length;
        if (column >= MOST.columns) throw new Error(`cell ${attributes.get("r")}`);
        cell = { column, type: attributes.get("t") ?? "n", style: Number(attributes.get("s") ?? 0), value: "", text: "" };
      } else if (element === "v") inside = "value";
      else if (element === "t") inside = "text";
      else if (element === "rPh") is_phonetic = true;
    },
    text(text) {
      if (cell && inside && !is_phonetic) cell[inside] += text;
    },
    close(element) {
      if (element === "v" || element === "t") inside = undefined;
      else if (element === "rPh") is_phonetic = false;
      else if (element === "c" && cell) {
        record[cell.column] = shown(cell);
        cell = undefined;
      } else if (element === "row") {
        records.push(record);
        cells += record.length;
        if (cells > MOST.cells) throw new Error(`${records.length} rows span ${cells} cells: clear those far to the right`);
      }
    },
  });
  return records;

  function shown({ type, style, value, text }: NonNullable<typeof cell>): string {
    if (type === "s") return texts[Number(value)] ?? "";
    if (type === "inlineStr") return unescaped(text);
    if (type === "str") return unescaped(value);
    if (type === "b") return value === "1" ? "TRUE" : "FALSE";
    if (type !== "n" || value === "") return value;
    const number = Number(value);
    if (!Number.isFinite(number)) return value;
    return date_styles.has(style) ? dateOf(is_1904 ? number + TO_1904 : number) : String(number);
  }
}

/** The texts that cells share. Reading aids of Japanese are no part of them. */
function textsOf(strings: string): string[] {
  const texts: string[] = [];
  let text: string | undefined;
  let is_text = false;
  let is_phonetic = false;
  if (strings === "") return texts;
  walk(strings, {
    open(element) {
      if (element === "si") text = "";
      else if (element === "t") is_text = true;
      else if (element === "rPh") is_phonetic = true;
    },
    text(part) {
      if (text !== undefined && is_text && !is_phonetic) text += part;
    },
    close(element) {
      if (element === "t") is_text = false;
      else if (element === "rPh") is_phonetic = false;
      else if (element === "si") texts.push(unescaped(text ?? ""));
    },
  });
  return texts;
}

/** The styles, by number, whose cells are dates. */
function dateStyles(styles: string): Set<number> {
  const codes = new Map<number, string>();
  const found = new Set<number>();
  let is_cell = false;
  let count = 0;
  if (styles === "") return found;
  walk(styles, {
    open(element, attributes) {
      if (element === "numFmt") codes.set(Number(attributes.get("numFmtId")), attributes.get("formatCode") ?? "");
      else if (element === "cellXfs") is_cell = true;
      else if (element === "xf" && is_cell) {
        if (isDateFormat(Number(attributes.get("numFmtId") ?? 0), codes)) found.add(count);
        count += 1;
      }
    },
    close(element) {
      if (element === "cellXfs") is_cell = false;
    },
  });
  return found;
}

function isDateFormat(id: number, codes: Map<number, string>): boolean {
  const code = codes.get(id);
  if (code === undefined) return DATE_FORMATS.some(([first, last]) => id >= first! && id <= last!);
  // Words in quotes, escaped characters, colours and conditions say nothing of the kind.
  const letters = code.replace(/"[^"]*"|\\.|_.|\*.|\[(?![hms]+\])[^\]]*\]|General/gi, "");
  return /[ymdhs]/i.test(letters);
}

/** A day as 2024-01-12, with the time behind it if there is one, as pandas writes it. */
function dateOf(days: number): string {
  const date = new Date(Math.round((days - EPOCH) * DAY_MILLIS));
  if (Number.isNaN(date.getTime())) return String(days);
  const [day, time] = date.toISOString().slice(0, 19).split("T") as [string, string];
  if (days < 1) return time;
  return Number.isInteger(days) ? day : `${day} ${time}`;
}

/** The column of an address such as B12, from 0. */
function columnOf(address: string | undefined): number | undefined {
  const letters = address && /^[A-Z]+/.exec(address)?.[0];
  if (!letters) return undefined;
  return [...letters].reduce((column, letter) => 26 * column + letter.charCodeAt(0) - 64, 0) - 1;
}

/** Characters that XML cannot hold are written as _x000D_. */
function unescaped(text: string): string {
  return text.replace(/_x([0-9A-Fa-f]{4})_/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
}
