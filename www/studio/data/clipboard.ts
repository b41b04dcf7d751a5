import { readRecords } from "./records.js";

/** Cells, row by row. */
export type Cells = string[][];

/** What a table from the clipboard may have; what is beyond belongs into a file. */
const MOST = { rows: 2000, columns: 50, characters: 5_000_000 };

/** What columns are called, in the words of the languages that spreadsheets of questions are written in. */
const NAMES = new Set(
  ("question questions q prompt instruction input query user customer text answer answers a completion response output reply " +
    "assistant agent chosen rejected better worse better_answer worse_answer " +
    "frage fragen antwort antworten eingabe ausgabe réponse reponse pregunta respuesta domanda risposta pergunta resposta vraag antwoord").split(" "),
);

/** What parts of a row are called as JSON, in the order of the grid's columns. */
const PARTS = [
  ["question", "prompt", "instruction", "input", "query", "user", "text"],
  ["answer", "completion", "response", "output", "reply", "assistant", "chosen"],
  ["rejected"],
];

/** The table that was copied, if it was one: cells of a spreadsheet, lines of CSV, or JSON. */
export function tableOf(text: string, html = ""): Cells | undefined {
  if (text.length > MOST.characters || html.length > MOST.characters) return undefined;
  return jsonTable(text) ?? tabTable(text) ?? htmlTable(html) ?? delimitedTable(text);
}

/** Whether a row holds nothing but what columns are called. */
export function isHeader(cells: string[]): boolean {
  const filled = cells.map((cell) => cell.trim().toLowerCase().replaceAll(/[ -]/g, "_")).filter((cell) => cell !== "");
  return filled.length > 0 && filled.every((cell) => NAMES.has(cell));
}

/** Spreadsheets write their cells with tabs between them, and quotes around those with line ends. */
function tabTable(text: string): Cells | undefined {
  return text.includes("\t") ? bounded(readRecords(text, "\t", MOST.rows)) : undefined;
}

/** CSV is taken for a table only where all of its lines have as many cells: prose has commas too. */
function delimitedTable(text: string): Cells | undefined {
  for (const delimiter of [";", ",", "|"]) {
    const rows = readRecords(text.trim(), delimiter, MOST.rows);
    const width = rows[0]?.length ?? 0;
    if (rows.length > 1 && width > 1 && rows.every((row) => row.length === width)) return bounded(rows);
  }
  return undefined;
}

/** What a tag says beside its name. */
const ATTRIBUTES = /<(\/?[a-z][\w:-]*)(?:"[^"]*"|'[^']*'|[^'"<>])*>/gi;

/**
 * The first table of a page, as text. Nothing of it is put into this page, nor run, nor fetched; what its tags ask for
 * beside that is taken away before it is read.
 */
function htmlTable(html: string): Cells | undefined {
  if (!/<table[\s>]/i.test(html)) return undefined;
  const table = new DOMParser().parseFromString(html.replaceAll(ATTRIBUTES, "<$1>"), "text/html").querySelector("table");
  if (!table) return undefined;
  const rows = [...table.rows].slice(0, MOST.rows).map((row) => [...row.cells].map(textIn));
  return bounded(rows.filter((row) => row.some((cell) => cell !== "")));
}

/** What a cell says; a `<br>` is a line end. */
function textIn(cell: HTMLTableCellElement): string {
  for (const end of cell.querySelectorAll("br")) end.replaceWith("\n");
  for (const unsaid of cell.querySelectorAll("script, style, template")) unsaid.remove();
  // Line ends of the page's source are blanks; those of its text are kept.
  return (cell.textContent ?? "").replaceAll("\u00a0", " ").trim();
}

/** Rows written as JSON: a list of objects, or one object a line. */
function jsonTable(text: string): Cells | undefined {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return undefined;
  const values = listed(trimmed) ?? lined(trimmed);
  const rows = values?.slice(0, MOST.rows).map(cellsOfValue);
  return rows && rows.length > 0 && rows.every((row) => row !== undefined) ? bounded(rows as Cells) : undefined;
}

function listed(text: string): unknown[] | undefined {
  const value = parsed(text);
  if (Array.isArray(value)) return value;
  return value === undefined ? undefined : [value];
}

function lined(text: string): unknown[] | undefined {
  const values = text.split("\n").filter((line) => line.trim() !== "").map((line) => parsed(line.trim().replace(/,$/, "")));
  return values.includes(undefined) ? undefined : values;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The cells of a row as JSON; none where it says more than a row of the grid can. */
function cellsOfValue(value: unknown): string[] | undefined {
  if (Array.isArray(value)) return value.every(isPlain) ? value.map(String) : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  const parts = new Map(Object.entries(value).map(([name, part]) => [name.trim().toLowerCase(), part]));
  const turns = parts.get("messages");
  if (turns !== undefined) return cellsOfTurns(turns);
  const named = PARTS.map((names) => names.map((name) => parts.get(name)).find(isPlain));
  const plain = [...parts.values()].filter(isPlain).map(String);
  const cells = named[0] === undefined ? plain : named.slice(0, named.findLastIndex((part) => part !== undefined) + 1).map((part) => String(part ?? ""));
  return cells.length > 0 ? cells : undefined;
}

/** A question and its answer; a chat of more turns is no row of a grid. */
function cellsOfTurns(turns: unknown): string[] | undefined {
  if (!Array.isArray(turns) || turns.length !== 2) return undefined;
  const [asked, answered] = turns as { role?: unknown; content?: unknown }[];
  const is_pair = asked?.role === "user" && answered?.role === "assistant" && isPlain(asked.content) && isPlain(answered.content);
  return is_pair ? [String(asked.content), String(answered.content)] : undefined;
}

function isPlain(value: unknown): boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/** A table without the columns at its end that hold nothing, as copied spreadsheets have them. */
function bounded(rows: Cells): Cells | undefined {
  const width = Math.min(MOST.columns, Math.max(0, ...rows.map((row) => row.findLastIndex((cell) => cell.trim() !== "") + 1)));
  return rows.length > 0 && width > 0 ? rows.map((row) => row.slice(0, width)) : undefined;
}
