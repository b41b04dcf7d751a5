import type { ErrorDetails } from "../errors.js";

/**
 * Where training rows come from: a file, or several (`<input multiple>`, `<input webkitdirectory>`, a drop);
 * a handle of a file or of a directory, which is read with all below it; a stream of a file's bytes; or the
 * rows themselves, an object each.
 */
export type DataSource =
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<object>
  | Iterable<object>
  | Iterable<File>
  | FileSystemFileHandle
  | FileSystemDirectoryHandle;

/**
 * A {@link DataSource} in the form that travels to the worker. Streams and rows stay on the page, since not
 * every browser can transfer a stream and none an iterator. The worker asks for them through the port.
 */
export type SentSource =
  | { kind: "blob"; name: string; blob: Blob }
  | { kind: "files"; files: { path: string; blob: Blob }[] }
  | { kind: "file_handle"; handle: FileSystemFileHandle }
  | { kind: "directory"; handle: FileSystemDirectoryHandle }
  | { kind: "bytes" | "rows"; name: string; port: MessagePort };

/** What the worker sends through the port: it wants the next batch, or no more of them. */
export type PortRequest = "next" | "stop";

/** What the page answers to "next". After the end or an error nothing follows. */
export type PortReply = { bytes: Uint8Array } | { end: true } | { error: ErrorDetails };

/** One file of a source, in the worker. */
export interface DataFile {
  /** The name or the path from the directory that was picked, for messages and for the file's format. */
  name: string;
  /** Bytes of the file as stored, where known. */
  size: number | undefined;
  /**
   * What the pieces are where they are not the file's own bytes: JSON lines of rows, or a sheet of a workbook as
   * CSV, a record for each of its rows.
   */
  format: "rows" | "sheet" | undefined;
  /**
   * The file's text or JSON lines, decompressed, in pieces of at most 1 MiB. It can be read once. Failures
   * are of code `bad-data` or `io` and name the file.
   */
  pieces(): AsyncGenerator<Piece, void, undefined>;
}

export interface Piece {
  bytes: Uint8Array;
  /** Stored bytes that were taken up to here. */
  loaded: number;
}
