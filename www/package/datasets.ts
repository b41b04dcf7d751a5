import { detailsOf, failure, TabtuneError } from "./errors.js";
import type { Calls } from "./protocol.js";
import { readable } from "./sources/list.js";
import { openSource } from "./sources/open.js";
import type { DataFile, SentSource } from "./sources/types.js";
import type { IgnoredFile, ImportOptions, Inspection, Notice, ProgressCallback } from "./types.js";
import { Library } from "./wasm/tabtune.js";

/** Progress is told no more often than this. */
const REPORT_MILLIS = 100;
/** Bytes of a file that are looked at. */
const HEAD_BYTES = 1 << 20;
/** Bytes that are looked at where that is not even one row: more than one may have. */
const LONGEST_ROW_BYTES = 17 << 20;

let opened: Promise<Library> | undefined;

/** The datasets in the browser's storage, opened once. */
export function library(): Promise<Library> {
  return (opened ??= Library.open());
}

/** The options in the form in which the engine reads them. */
function engineOptions(options: ImportOptions): object {
  const { delimiter, header, encoding, text_chars, ...rest } = options;
  const told = Object.entries({ delimiter, header, encoding, text_chars }).filter(([, value]) => value !== undefined);
  return { ...rest, format: Object.fromEntries(told) };
}

/** The first rows of the first file. */
export async function inspect({ source, options }: Calls["inspect"]["args"]): Promise<Calls["inspect"]["result"]> {
  const found = await library();
  const ignored: IgnoredFile[] = [];
  for await (const file of openSource(source, ignored, columnsIn(options))) {
    const pieces = file.pieces();
    try {
      let head = await headOf(pieces, HEAD_BYTES);
      const look = (): Inspection => found.inspect(file.name, file.format, head.bytes, head.is_whole, engineOptions(options));
      let inspection = look();
      if (!head.is_whole && inspection.rows.length + inspection.bad_rows.length === 0) {
        // The first row may be longer than that, up to what a row may have.
        head = await headOf(pieces, LONGEST_ROW_BYTES, head.bytes);
        inspection = look();
      }
      return { ...inspection, notices: [...inspection.notices, ...noticesOf(ignored)] };
    } finally {
      await pieces.return();
    }
  }
  throw failure("bad-data", "there is no file to look at");
}

/** Names of columns that are read whatever they seem to hold. */
function columnsIn({ columns }: ImportOptions): string[] {
  return Object.values(columns ?? {});
}

/** At least `count` bytes from the start of a file, of which `begin` was read, if it has so many. */
async function headOf(
  pieces: AsyncGenerator<{ bytes: Uint8Array }>,
  count: number,
  begin: Uint8Array = new Uint8Array(),
): Promise<{ bytes: Uint8Array; is_whole: boolean }> {
  const parts = [begin];
  let length = begin.length;
  let is_whole = false;
  while (length < count && !is_whole) {
    const { done, value } = await pieces.next();
    if (done) is_whole = true;
    else {
      parts.push(value.bytes);
      length += value.bytes.length;
    }
  }
  const bytes = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return { bytes, is_whole };
}

/** What is left out is told as a whole; the report of the import names it. */
function noticesOf(ignored: IgnoredFile[]): Notice[] {
  if (ignored.length === 0) return [];
  const [first] = ignored;
  const others = ignored.length > 1 ? ` (and ${ignored.length - 1} more)` : "";
  return [{ code: "ignored-files", message: `${first!.file} ${first!.reason}${others}` }];
}

/** Puts the rows of a source into the browser's storage. The signal is looked at between two pieces. */
export async function importRows(
  { name, source, options, resume }: Calls["import"]["args"],
  report: ProgressCallback,
  signal: AbortSignal,
): Promise<Calls["import"]["result"]> {
  const total = sizeOf(source);
  await expectRoom(name, total);
  const found = await library();
  const into = await found.import(name, engineOptions(options), resume);
  const progress = progressOf(name, total, report);
  const ignored: IgnoredFile[] = [];
  try {
    for await (const file of openSource(source, ignored, columnsIn(options))) {
      await into.begin_file(file.name, file.format);
      for await (const { bytes, loaded } of file.pieces()) {
        if (signal.aborted) throw failure("cancelled", "the import was stopped; what was stored can be resumed");
        progress.tell(file, loaded, await into.push(bytes));
      }
      await into.end_file();
      progress.fileDone(file);
    }
    for (const { file, reason } of ignored) await into.ignore_file(file, reason);
    return await into.finish();
  } catch (thrown) {
    // Data that were found to be bad on the way to the engine are as good as refused by it.
    if (detailsOf(thrown).code === "bad-data") await found.discard_pending(name).catch(() => {});
    throw await withRoom(thrown, name, total);
  } finally {
    into.free();
  }
}

/** Bytes of all files as they are stored, where that is known before they are opened. */
function sizeOf(source: SentSource): number | undefined {
  if (source.kind === "blob") return source.blob.size;
  if (source.kind === "files") {
    return readable(source.files, "the list of files").files.reduce((sum, { blob }) => sum + blob.size, 0);
  }
  return undefined;
}

/** Fails before anything is written where it cannot fit. */
async function expectRoom(name: string, total: number | undefined): Promise<void> {
  const { quota, usage } = (await navigator.storage?.estimate()) ?? {};
  if (total === undefined || quota === undefined || usage === undefined || total <= quota - usage) return;
  throw await withRoom(failure("quota-exceeded", "the browser's storage is too small"), name, total);
}

/** A full storage is told with how much is needed and how much is free. */
async function withRoom(thrown: unknown, name: string, total: number | undefined): Promise<unknown> {
  const details = detailsOf(thrown);
  if (details.code !== "quota-exceeded") return thrown;
  const { quota = 0, usage = 0 } = (await navigator.storage?.estimate()) ?? {};
  const free = quota - usage;
  const needed = total === undefined ? "more room than there is" : `about ${megabytes(total)}`;
  // Browsers that guard against fingerprinting tell more than there is.
  const known = total !== undefined && free < total ? `, and ${megabytes(Math.max(0, free))} are free` : "";
  const message = `${details.message}: the rows need ${needed}${known}`;
  return new TabtuneError({ ...details, message, context: [`dataset "${name}"`] });
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

/** Adds up over files, and tells how long the rest will take at the speed so far. */
function progressOf(name: string, all: number | undefined, report: ProgressCallback) {
  const began = performance.now();
  let told = 0;
  let done = 0;
  let rows = 0;
  const tell = (file: DataFile, loaded: number, is_end: boolean) => {
    const now = performance.now();
    if (!is_end && now - told < REPORT_MILLIS) return;
    told = now;
    const total = all ?? file.size;
    const so_far = all === undefined ? loaded : done + loaded;
    report({
      status: "progress",
      name,
      file: file.name,
      loaded: so_far,
      rows,
      ...(total !== undefined && {
        total,
        progress: total === 0 ? 100 : (100 * so_far) / total,
        remaining_seconds: so_far === 0 ? 0 : (((now - began) / so_far) * (total - so_far)) / 1000,
      }),
    });
  };
  return {
    tell(file: DataFile, loaded: number, rows_so_far: number) {
      rows = rows_so_far;
      tell(file, loaded, false);
    },
    fileDone(file: DataFile) {
      tell(file, file.size ?? 0, true);
      done += file.size ?? 0;
    },
  };
}
