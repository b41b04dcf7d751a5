import { TabtuneError, type BadRow, type Inspection, type RowShape } from "tabtune";
import type { RowKind } from "../chat/preference-rows.js";

const FORMATS: Partial<Record<string, string>> = {
  jsonl: "JSON Lines",
  json: "JSON",
  csv: "CSV",
  tsv: "TSV",
  text: "text",
  markdown: "Markdown",
  rows: "Parquet",
  sheet: "Excel workbook",
};

const SHAPES: Record<RowShape, string> = {
  messages: "chats",
  sharegpt: "chats",
  prompt_completion: "questions and answers",
  alpaca: "instructions and answers",
  text: "plain text",
  preference: "preference pairs",
  unpaired_preference: "rated answers",
};

/** What rows of a shape say; all others are examples. */
const KINDS: Partial<Record<string, RowKind>> = { preference: "pairs", unpaired_preference: "ratings" };

/** Whether there are columns whose meaning nobody knows yet. */
export function isUnknown({ mapping, columns }: Inspection): boolean {
  return mapping === null && columns.length > 0;
}

/** Whether rows are cut out of running text, and so have no columns to choose from. */
export function isProse({ format }: Inspection): boolean {
  return format === "text" || format === "markdown";
}

/** What a file is and holds, in a few words. */
export function foundWords(inspection: Inspection): string {
  const { format, mapping } = inspection;
  const unknown = isUnknown(inspection) ? "columns that nobody has named yet" : "nothing that can be read";
  return `${FORMATS[format] ?? format} · ${mapping ? SHAPES[mapping.shape] : unknown}`;
}

/** What the rows say; undefined where that is not known. */
export function kindFound(inspection: Inspection | undefined): RowKind | undefined {
  const shape = inspection?.mapping?.shape;
  return shape && (KINDS[shape] ?? "examples");
}

/** The row at which an import stopped, as its error tells. */
export function badRowIn(thrown: unknown): BadRow | undefined {
  if (!(thrown instanceof TabtuneError) || thrown.code !== "bad-data") return undefined;
  const told = /^(.+?):? (line|row) (\d+): (.*)$/s.exec(thrown.message);
  return told ? { file: told[1]!, unit: told[2] as BadRow["unit"], place: Number(told[3]), reason: told[4]! } : undefined;
}

/** The row from which on nothing can be read, where there is one. */
export function brokenRowIn({ file, problem }: Inspection): BadRow[] {
  const told = /^(line|row) (\d+): (.*)$/s.exec(problem ?? "");
  return told ? [{ file, unit: told[1] as BadRow["unit"], place: Number(told[2]), reason: told[3]! }] : [];
}
