import { failure } from "../errors.js";
import { rowsFeed, serve, sourceFailure, streamFeed, type Feed } from "./serve.js";
import type { DataSource, SentSource } from "./types.js";

/** What to post to the worker, and how to end it if the worker does not. */
export interface Sendable {
  source: SentSource;
  transfer: Transferable[];
  /** Lets go of a stream or an iterator; the worker, if it waits for one, is told `cancelled`. */
  close(): void;
}

/**
 * Brings what the caller gave into a form that can be posted to the worker. `file_name` names a Blob, a
 * stream and rows; lists of files and handles have names of their own.
 */
export function sendable(source: DataSource, file_name: string): Sendable {
  if (typeof source !== "object" || source === null) throw unknownSource();
  if (source instanceof Blob) return posted({ kind: "blob", name: file_name, blob: source });
  if (isHandle(source)) {
    if (source.kind === "file") return posted({ kind: "file_handle", handle: source });
    return posted({ kind: "directory", handle: source });
  }
  if (source instanceof ReadableStream) return served("bytes", file_name, streamFeed(source, file_name));
  if (Symbol.asyncIterator in source) {
    return served("rows", file_name, rowsFeed(source[Symbol.asyncIterator](), file_name));
  }
  if (Symbol.iterator in source) return fromIterable(source, file_name);
  throw unknownSource();
}

/** Files or rows: the first item tells. */
function fromIterable(source: Iterable<object>, file_name: string): Sendable {
  const items = source[Symbol.iterator]();
  let first: IteratorResult<object>;
  try {
    first = items.next();
  } catch (thrown) {
    throw sourceFailure(file_name, thrown);
  }
  const is_list = typeof FileList !== "undefined" && source instanceof FileList;
  if (!is_list && !(first.value instanceof Blob)) {
    return served("rows", file_name, rowsFeed(items, file_name, first));
  }
  const files = [];
  for (let item = first; !item.done; item = items.next()) {
    if (!(item.value instanceof File)) {
      throw failure("bad-data", `item ${files.length + 1} of the list of files is no File`);
    }
    // The path is not part of what arrives of a File in a worker.
    files.push({ path: item.value.webkitRelativePath || item.value.name, blob: item.value });
  }
  return posted({ kind: "files", files });
}

function isHandle(source: object): source is FileSystemFileHandle | FileSystemDirectoryHandle {
  return "kind" in source && (source.kind === "file" || source.kind === "directory");
}

function posted(source: SentSource): Sendable {
  return { source, transfer: [], close() {} };
}

function served(kind: "bytes" | "rows", name: string, feed: Feed): Sendable {
  const { port1, port2 } = new MessageChannel();
  return { source: { kind, name, port: port2 }, transfer: [port2], close: serve(port1, feed) };
}

function unknownSource() {
  return failure(
    "bad-option",
    "the data must be a File or Blob, a list of Files, a handle of a file or directory, " +
      "a stream of bytes, or rows that can be iterated over",
  );
}
