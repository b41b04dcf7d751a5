import { failure } from "../errors.js";
import { blobBytes, headOf, isParquet, parts, textPieces } from "./bytes.js";
import { filesBelow, readable } from "./list.js";
import { parquetPieces } from "./parquet.js";
import { pull } from "./pull.js";
import type { DataFile, Piece, SentSource } from "./types.js";

/**
 * The files of a source, one after another. Each is to be read before the next one is asked for, and what
 * comes through a port is let go as soon as this generator goes on or returns.
 */
export async function* openSource(source: SentSource): AsyncGenerator<DataFile, void, undefined> {
  switch (source.kind) {
    case "blob":
      yield openBlob(source.name, source.blob);
      return;
    case "files":
      for (const { path, blob } of readable(source.files, "the list of files")) yield openBlob(path, blob);
      return;
    case "file_handle":
      yield openHandle(source.handle.name, source.handle);
      return;
    case "directory": {
      const { handle: directory } = source;
      const files = await filesBelow(directory);
      for (const { path, handle } of readable(files, directory.name || "the directory")) {
        yield openHandle(path, handle);
      }
      return;
    }
    case "bytes":
    case "rows": {
      const { kind, name, port } = source;
      const { batches, stop } = pull(port);
      try {
        const pieces = () => (kind === "rows" ? rowPieces(batches()) : textPieces(name, batches()));
        yield { name, size: undefined, is_rows: kind === "rows", pieces };
      } finally {
        stop();
      }
    }
  }
}

async function openHandle(path: string, handle: FileSystemFileHandle): Promise<DataFile> {
  let file: File;
  try {
    file = await handle.getFile();
  } catch (thrown) {
    throw failure("io", `${path}: ${String(thrown)}`);
  }
  return openBlob(path, file);
}

async function openBlob(name: string, blob: Blob): Promise<DataFile> {
  const is_rows = isParquet(await headOf(name, blob));
  const pieces = () => (is_rows ? parquetPieces(name, blob) : textPieces(name, blobBytes(name, blob)));
  return { name, size: blob.size, is_rows, pieces };
}

async function* rowPieces(batches: AsyncIterable<Uint8Array>): AsyncGenerator<Piece, void, undefined> {
  let loaded = 0;
  for await (const bytes of batches) {
    loaded += bytes.length;
    for (const part of parts(bytes)) yield { bytes: part, loaded };
  }
}
