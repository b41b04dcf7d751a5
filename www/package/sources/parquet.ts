import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import type { AsyncBuffer, FileMetaData, SchemaElement, SchemaTree } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { failure, TabtuneError } from "../errors.js";
import { parts, readBlob } from "./bytes.js";
import { BATCH_CHARS, jsonOf } from "./rows.js";
import type { Piece } from "./types.js";

/** Bytes of values, uncompressed, that are read at once where a row group can be read in portions. */
const PORTION = 8 << 20;

/** The bytes that a value may take on average in a column that is no text. */
const LONGEST_OTHER = 64 << 10;

/** Rows for each byte of a file. Where there are more, nearly all are the same. */
const MOST_ROWS = 64;

/**
 * The rows of a Parquet file as JSON lines. No more than one portion is in memory, or one row group. Columns that
 * hold no text, but pictures or sound, are not read unless they are among `columns`.
 */
export async function* parquetPieces(
  name: string,
  blob: Blob,
  { columns: needed = [] as string[], portion_bytes = PORTION } = {},
): AsyncGenerator<Piece, void, undefined> {
  const file: AsyncBuffer = {
    byteLength: blob.size,
    slice: (start, end = blob.size) => readBlob(name, blob, start, end),
  };
  // No row is made of places on a map, and the reader's search for them follows a count below nothing back for ever.
  const metadata = await understood(name, parquetMetadataAsync(file, { geoparquet: false }));
  refuseLies(name, blob.size, metadata);
  const columns = await understood(name, readColumns(metadata, needed));
  const total = Number(metadata.num_rows);
  for (const { start, end } of portions(metadata, columns, portion_bytes)) {
    const read = { file, metadata, compressors, columns, rowStart: start, rowEnd: end, useOffsetIndex: true };
    const rows = await understood(name, parquetReadObjects(read));
    const loaded = Math.floor((blob.size * end) / total);
    for (const bytes of jsonLines(name, rows, start)) yield { bytes, loaded };
  }
}

/** What a footer claims decides how much is read at once and how often, so it must be what a file of this size can hold. */
function refuseLies(name: string, bytes: number, { num_rows, row_groups }: FileMetaData): void {
  const problem = (what: string) => failure("bad-data", `${name}: the Parquet file cannot be read: its footer ${what}`);
  const is_count = (value: unknown) => Number.isSafeInteger(Number(value ?? 0)) && Number(value ?? 0) >= 0;
  if (!Array.isArray(row_groups)) throw problem("has no row groups");
  let rows = 0;
  for (const group of row_groups) {
    const sizes = (group.columns ?? []).map(({ meta_data }) => meta_data?.total_uncompressed_size);
    if (!Array.isArray(group.columns) || ![group.num_rows, ...sizes].every(is_count)) {
      throw problem("has a row group without columns or with sizes that are none");
    }
    if (!group.columns.every(({ meta_data }) => meta_data === undefined || Array.isArray(meta_data.path_in_schema))) {
      throw problem("has a column without a name");
    }
    rows += Number(group.num_rows);
  }
  if (rows !== Number(num_rows)) throw problem(`claims ${num_rows} rows, but its row groups have ${rows}`);
  if (rows > bytes * MOST_ROWS) throw problem(`claims ${rows} rows, more than are in ${bytes} bytes`);
}

/**
 * The columns that may hold what rows are made of: texts and lists. Bytes in a struct or list that no writer said to
 * be text are pictures and the like. So is what takes much room and is no text.
 */
async function readColumns(metadata: FileMetaData, needed: string[]): Promise<string[]> {
  const is_heavy = (column: string) => chunkBytes(metadata, [column]) > LONGEST_OTHER * Number(metadata.num_rows);
  const is_read = (column: SchemaTree) => {
    const { name } = column.element;
    if (needed.includes(name)) return true;
    if (column.children.length > 0 && leaves(column).some(isUntyped)) return false;
    return isTextual(column) || !is_heavy(name);
  };
  const all = parquetSchema(metadata).children;
  refuseStrays(metadata, all);
  const read = all.filter(is_read);
  return (read.length > 0 ? read : all).map(({ element }) => element.name);
}

/** A column that the reader comes upon twice, or that its schema does not have, would fail where nobody waits for it. */
function refuseStrays({ row_groups }: FileMetaData, columns: SchemaTree[]): void {
  const known = new Set(columns.flatMap(paths));
  for (const group of row_groups) {
    const left = new Set(known);
    for (const { meta_data } of group.columns) {
      const path = JSON.stringify(meta_data?.path_in_schema);
      if (meta_data && !left.delete(path)) throw new Error(`its footer has the column ${path} twice, or its schema does not have it`);
    }
  }
}

/** The paths of all columns with values at or below one. */
function paths(column: SchemaTree): string[] {
  return column.children.length > 0 ? column.children.flatMap(paths) : [JSON.stringify(column.path)];
}

function leaves(column: SchemaTree): SchemaElement[] {
  return column.children.length > 0 ? column.children.flatMap(leaves) : [column.element];
}

function isUntyped({ type, converted_type, logical_type }: SchemaElement): boolean {
  return type === "BYTE_ARRAY" && converted_type === undefined && logical_type === undefined;
}

/** Whether the column is text, or a list with text in it, as chats are. */
function isTextual(column: SchemaTree): boolean {
  const is_list = column.element.converted_type === "LIST" || column.element.logical_type?.type === "LIST";
  const may_be = is_list || column.children.length === 0;
  return may_be && leaves(column).some((leaf) => leaf.type === "BYTE_ARRAY" && !isUntyped(leaf));
}

/** Bytes of the values of some columns in one row group or all, uncompressed. */
function chunkBytes({ row_groups }: Pick<FileMetaData, "row_groups">, columns: string[]): number {
  const chunks = row_groups.flatMap((group) => group.columns.map(({ meta_data }) => meta_data));
  const counted = chunks.filter((chunk) => columns.includes(chunk?.path_in_schema[0] ?? ""));
  return counted.reduce((sum, chunk) => sum + Number(chunk?.total_uncompressed_size ?? 0), 0);
}

/**
 * The row ranges that are read at once. Only the offset index says which pages hold which rows. Where a
 * column has none, a portion would cost as much as its row group, so that is read whole.
 */
function* portions(
  { row_groups }: FileMetaData,
  read: string[],
  bytes: number,
): Generator<{ start: number; end: number }> {
  let group_start = 0;
  for (const group of row_groups) {
    const num_rows = Number(group.num_rows);
    const group_end = group_start + num_rows;
    const columns = group.columns.filter(({ meta_data }) => read.includes(meta_data?.path_in_schema[0] ?? ""));
    const is_indexed = columns.every((column) => column.offset_index_offset && column.offset_index_length);
    const count = Math.ceil(chunkBytes({ row_groups: [group] }, read) / bytes);
    const rows = is_indexed ? Math.max(1, Math.ceil(num_rows / count)) : num_rows;
    for (let start = group_start; start < group_end; start += rows) {
      yield { start, end: Math.min(start + rows, group_end) };
    }
    group_start = group_end;
  }
}

function* jsonLines(
  name: string,
  rows: Record<string, unknown>[],
  start: number,
): Generator<Uint8Array, void, undefined> {
  const encoder = new TextEncoder();
  let text = "";
  for (const [index, row] of rows.entries()) {
    // The reader gives null for a null value, but undefined for a null list or struct. Every row is to have
    // every column.
    for (const column of Object.keys(row)) row[column] ??= null;
    const line = jsonOf(row);
    if ("problem" in line) throw failure("bad-data", `${name} row ${start + index + 1}: ${line.problem}`);
    text += `${line.json}\n`;
    if (text.length >= BATCH_CHARS || index === rows.length - 1) {
      yield* parts(encoder.encode(text));
      text = "";
    }
  }
}

/** What the reader throws means that the file is damaged, or uses what the reader does not know. */
async function understood<T>(name: string, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (thrown) {
    if (thrown instanceof TabtuneError) throw thrown;
    throw failure("bad-data", `${name}: the Parquet file cannot be read: ${String(thrown)}`);
  }
}
