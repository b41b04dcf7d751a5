import { failure } from "../errors.js";
import type { IgnoredFile } from "../types.js";
import { blobBytes, headOf, isParquet, isZip, parts, textPieces } from "./bytes.js";
import { filesBelow, readable } from "./list.js";
import { parquetPieces } from "./parquet.js";
import { pull } from "./pull.js";
import type { DataFile, Piece, SentSource } from "./types.js";
import { openWorkbook } from "./workbook.js";

/**
 * The data files of a source, one after another. Each is to be read before the next one is asked for, and what
 * comes through a port is let go as soon as this generator goes on or returns. What is left out is added to
 * `ignored`. Of Parquet files the columns in `columns` are read in any case.
 */
export async function* openSource(
  source: SentSource,
  ignored: IgnoredFile[] = [],
  columns: string[] = [],
): AsyncGenerator<DataFile, void, undefined> {
  const open = (name: string, blob: Blob) => openBlob(name, blob, ignored, columns);
  const chosen = <T extends { path: string }>(files: T[], from: string) => {
    const found = readable(files, from);
    ignored.push(...found.ignored);
    return found.files;
  };
  switch (source.kind) {
    case "blob":
      yield open(source.name, source.blob);
      return;
    case "files":
      for (const { path, blob } of chosen(source.files, "the list of files")) yield open(path, blob);
      return;
    case "file_handle":
      yield open(source.handle.name, await fileOf(source.handle.name, source.handle));
      return;
    case "directory": {
      const files = await filesBelow(source.handle);
      for (const { path, handle } of chosen(files, source.handle.name || "the directory")) {
        yield open(path, await fileOf(path, handle));
      }
      return;
    }
    case "bytes":
    case "rows": {
      const { kind, name, port } = source;
      const { batches, stop } = pull(port);
      try {
        const pieces = () => (kind === "rows" ? rowPieces(batches()) : textPieces(name, batches()));
        yield { name, size: undefined, format: kind === "rows" ? "rows" : undefined, pieces };
      } finally {
        stop();
      }
    }
  }
}

async function fileOf(path: string, handle: FileSystemFileHandle): Promise<File> {
  try {
    return await handle.getFile();
  } catch (thrown) {
    throw failure("io", `${path}: ${String(thrown)}`);
  }
}

async function openBlob(name: string, blob: Blob, ignored: IgnoredFile[], columns: string[]): Promise<DataFile> {
  const head = await headOf(name, blob);
  const size = blob.size;
  if (isParquet(head)) return { name, size, format: "rows", pieces: () => parquetPieces(name, blob, { columns }) };
  if (isZip(head)) {
    const { pieces, other_sheets } = await openWorkbook(name, blob);
    const reason = "is not the first sheet: of a workbook, only that one is imported";
    ignored.push(...other_sheets.map((sheet) => ({ file: `${name}, sheet "${sheet}"`, reason })));
    return { name, size, format: "sheet", pieces };
  }
  return { name, size, format: undefined, pieces: () => textPieces(name, blobBytes(name, blob)) };
}

async function* rowPieces(batches: AsyncIterable<Uint8Array>): AsyncGenerator<Piece, void, undefined> {
  let loaded = 0;
  for await (const bytes of batches) {
    loaded += bytes.length;
    for (const part of parts(bytes)) yield { bytes: part, loaded };
  }
}
