import { parquetMetadataAsync, parquetReadObjects, type AsyncBuffer, type FileMetaData } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { failure, TabtuneError } from "../errors.js";
import { parts, readBlob } from "./bytes.js";
import { BATCH_CHARS, jsonOf } from "./rows.js";
import type { Piece } from "./types.js";

/** Bytes of values, uncompressed, that are read at once where a row group can be read in portions. */
const PORTION = 8 << 20;

/** The rows of a Parquet file as JSON lines. No more than one portion is in memory, or one row group. */
export async function* parquetPieces(
  name: string,
  blob: Blob,
  portion_bytes = PORTION,
): AsyncGenerator<Piece, void, undefined> {
  const file: AsyncBuffer = {
    byteLength: blob.size,
    slice: (start, end = blob.size) => readBlob(name, blob, start, end),
  };
  const metadata = await understood(name, parquetMetadataAsync(file));
  const total = Number(metadata.num_rows);
  for (const { start, end } of portions(metadata, portion_bytes)) {
    const read = { file, metadata, compressors, rowStart: start, rowEnd: end, useOffsetIndex: true };
    const rows = await understood(name, parquetReadObjects(read));
    const loaded = Math.floor((blob.size * end) / total);
    for (const bytes of jsonLines(name, rows, start)) yield { bytes, loaded };
  }
}

/**
 * The row ranges that are read at once. Only the offset index says which pages hold which rows. Where a
 * column has none, a portion would cost as much as its row group, so that is read whole.
 */
function* portions({ row_groups }: FileMetaData, bytes: number): Generator<{ start: number; end: number }> {
  let group_start = 0;
  for (const { num_rows, total_byte_size, columns } of row_groups) {
    const group_end = group_start + Number(num_rows);
    const is_indexed = columns.every((column) => column.offset_index_offset && column.offset_index_length);
    const count = Math.ceil(Number(total_byte_size) / bytes);
    const rows = is_indexed ? Math.max(1, Math.ceil(Number(num_rows) / count)) : Number(num_rows);
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
