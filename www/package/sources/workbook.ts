import { unzipSync, type UnzipFileInfo } from "fflate";
import { failure } from "../errors.js";
import { parts, readBlob } from "./bytes.js";
import { BATCH_CHARS } from "./rows.js";
import { recordsOf } from "./sheet.js";
import type { Piece } from "./types.js";
import { walk } from "./xml.js";

/** The most bytes of a workbook, and of its parts unpacked, which are in memory as a whole. */
const LARGEST = { packed: 64 << 20, unpacked: 256 << 20 };

/** What else is a zip file, told by what is in it. */
const OTHERS = [
  { part: "word/document.xml", what: "a Word document: save it as plain text" },
  { part: "ppt/presentation.xml", what: "a presentation: save its text as a .txt file" },
  { part: "xl/workbook.bin", what: "a binary Excel workbook: save the sheet as CSV UTF-8 or the workbook as .xlsx" },
  { part: "content.xml", what: "an OpenDocument file: save a sheet as CSV UTF-8, a text as plain text" },
];

export interface Workbook {
  /** Names of the sheets that are not read. */
  other_sheets: string[];
  /** The first sheet as CSV. */
  pieces(): AsyncGenerator<Piece, void, undefined>;
}

/**
 * The first sheet of an Excel workbook that is not hidden. ECMA-376 has the format: a zip file with XML parts, of
 * which the workbook names the sheets and its relations say where they lie.
 */
export async function openWorkbook(name: string, blob: Blob): Promise<Workbook> {
  if (blob.size > LARGEST.packed) throw tooLarge(name);
  const bytes = new Uint8Array(await readBlob(name, blob, 0, blob.size));
  const unpack = (wanted: (part: string) => boolean) => understood(name, () => unpacked(name, bytes, wanted));
  const found: string[] = [];
  const { "xl/workbook.xml": workbook, "xl/_rels/workbook.xml.rels": relations } = unpack((part) => {
    found.push(part);
    return part === "xl/workbook.xml" || part === "xl/_rels/workbook.xml.rels";
  });
  if (workbook === undefined || relations === undefined) {
    const other = OTHERS.find(({ part }) => found.includes(part));
    const what = other?.what ?? "a zip file: unpack it and choose the files in it";
    throw failure("bad-data", `${name}: the file is ${what}`);
  }
  const { sheets, is_1904 } = understood(name, () => sheetsOf(workbook));
  const targets = understood(name, () => targetsOf(relations));
  const shown = sheets.filter(({ state }) => state === undefined || state === "visible");
  const [first] = shown.filter(({ relation }) => targets.has(relation));
  const path = first && targets.get(first.relation)!.part;
  if (!first || !path) throw failure("bad-data", `${name}: the workbook has no sheet that is shown`);
  const partOf = (kind: string) => [...targets.values()].find(({ type }) => type.endsWith(`/${kind}`))?.part;
  const [strings, styles] = [partOf("sharedStrings"), partOf("styles")];
  return {
    other_sheets: shown.filter((sheet) => sheet !== first).map((sheet) => sheet.name),
    async *pieces() {
      const xml = unpack((part) => part === path || part === strings || part === styles);
      const sheet = xml[path];
      if (sheet === undefined) throw failure("bad-data", `${name}: the workbook lacks its sheet "${first.name}"`);
      const text = { sheet, strings: xml[strings ?? ""] ?? "", styles: xml[styles ?? ""] ?? "", is_1904 };
      const records = understood(name, () => recordsOf(text));
      yield* csvPieces(records, blob.size);
    },
  };
}

function* csvPieces(records: string[][], size: number): Generator<Piece, void, undefined> {
  const encoder = new TextEncoder();
  let text = "";
  for (const [index, record] of records.entries()) {
    const fields = Array.from(record.length > 0 ? record : [""], (field = "") => `"${field.replaceAll('"', '""')}"`);
    text += `${fields.join(",")}\n`;
    if (text.length < BATCH_CHARS && index < records.length - 1) continue;
    const loaded = Math.floor((size * (index + 1)) / records.length);
    for (const bytes of parts(encoder.encode(text))) yield { bytes, loaded };
    text = "";
  }
}

/** Some parts of the zip file as text. */
function unpacked(name: string, bytes: Uint8Array, wanted: (part: string) => boolean): Record<string, string> {
  let size = 0;
  const filter = ({ name: part, originalSize }: UnzipFileInfo) => {
    const is_wanted = wanted(part);
    if (is_wanted) size += originalSize;
    if (size > LARGEST.unpacked) throw tooLarge(name);
    return is_wanted;
  };
  const decoder = new TextDecoder();
  const found = unzipSync(bytes, { filter });
  return Object.fromEntries(Object.entries(found).map(([part, xml]) => [part, decoder.decode(xml)]));
}

interface Sheet {
  name: string;
  state: string | undefined;
  /** By which the workbook's relations know it. */
  relation: string;
}

function sheetsOf(workbook: string): { sheets: Sheet[]; is_1904: boolean } {
  const sheets: Sheet[] = [];
  let is_1904 = false;
  walk(workbook, {
    open(element, attributes) {
      if (element === "workbookPr") is_1904 = ["1", "true"].includes(attributes.get("date1904") ?? "");
      if (element !== "sheet") return;
      const [name, state, relation] = ["name", "state", "id"].map((key) => attributes.get(key));
      sheets.push({ name: name ?? "", state, relation: relation ?? "" });
    },
  });
  return { sheets, is_1904 };
}

/** The parts that the workbook refers to, by the names that it has for them. */
function targetsOf(relations: string): Map<string, { type: string; part: string }> {
  const targets = new Map<string, { type: string; part: string }>();
  walk(relations, {
    open(element, attributes) {
      if (element !== "Relationship") return;
      const [id, type, target] = ["Id", "Type", "Target"].map((key) => attributes.get(key) ?? "");
      // A path from the root of the zip file, or from the workbook's folder.
      const part = new URL(target!, "zip:///xl/").pathname.slice(1);
      targets.set(id!, { type: type!, part: decodeURIComponent(part) });
    },
  });
  return targets;
}

function tooLarge(name: string) {
  return failure("bad-data", `${name}: the workbook is too large to be read; save its sheet as CSV UTF-8`);
}

/** What the readers of zip and XML throw means that the workbook is damaged. */
function understood<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof Error && thrown.name === "TabtuneError") throw thrown;
    const message = "the Excel workbook cannot be read; save its sheet as CSV UTF-8";
    throw failure("bad-data", `${name}: ${message} (${String(thrown)})`);
  }
}
