import { cancelled, failure, throwIfAborted } from "./errors.js";
import { locks, whileNotTokenised } from "./locks.js";
import { tellRenamed } from "./renames.js";
import { stored, withShared } from "./shared.js";
import { sendable } from "./sources/send.js";
import type { DataSource } from "./sources/types.js";
import type { DatasetInfo, ImportOptions, ImportReport, Inspection, ProgressCallback, StoredRow } from "./types.js";

/** Options of {@link Dataset.import}. */
export interface ImportRequest extends ImportOptions {
  /** The name of what is not a File, which tells its format; default "rows.jsonl" for bytes. */
  file_name?: string;
  /**
   * Go on with an import that was interrupted: by a closed tab, an aborted signal or a stream that broke.
   * The same data is read again and compared with what was stored, which is then not stored again.
   */
  resume?: boolean;
  /** While another call or tab changes the dataset: fail with `bad-state` (default), or wait until it is done. */
  if_busy?: "fail" | "wait";
  progress_callback?: ProgressCallback;
  /** Aborting throws `cancelled` and keeps what was stored, to be resumed. */
  signal?: AbortSignal;
}

/**
 * Training rows by name, kept in the browser's own storage (IndexedDB), which outlives the tab. Rows are
 * stored as they are imported; a trainer tokenises them once for its model and keeps that too.
 */
export class Dataset {
  #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** The name that it was opened by, or that {@link Dataset.rename} gave it since. */
  get name(): string {
    return this.#name;
  }

  /** The dataset of that name, which is empty until something is imported. */
  static async open(name: string): Promise<Dataset> {
    if (!name) throw failure("bad-option", "a dataset needs a name");
    return new Dataset(name);
  }

  /** All datasets that hold rows. */
  static list(): Promise<DatasetInfo[]> {
    return stored("datasets", undefined);
  }

  /** Looks at the first rows of some data: its format, and the shape its rows would be read as. */
  static async inspect(source: DataSource, options: ImportOptions & { file_name?: string } = {}): Promise<Inspection> {
    const { file_name, ...rest } = options;
    const sent = sendable(source, nameOf(source, file_name));
    try {
      return await withShared((client) =>
        client.call("inspect", { source: sent.source, options: rest }, { transfer: sent.transfer }),
      );
    } finally {
      sent.close();
    }
  }

  /**
   * Imports rows, in place of those that are there or added to them: from a File or Blob (JSONL, a JSON
   * array, CSV, TSV, plain text, Markdown, Parquet, the first sheet of an Excel workbook; all but the last two also
   * gzipped), several of them, a file or directory handle, a stream of bytes, or an iterator of rows. Nothing is held in memory as a whole.
   * Until the import is through, the rows from before stay.
   *
   * A row has `messages`; `question` and `answer`; `prompt` and `completion`; `text`; `instruction`, `input` and
   * `output` (Alpaca); `conversations` (ShareGPT); or `prompt`, `chosen` and `rejected`. Other names are told by
   * `columns`, and `pairs` says whether a question and its answer are a chat.
   */
  async import(source: DataSource, options: ImportRequest = {}): Promise<ImportReport> {
    const { file_name, resume = false, if_busy = "fail", progress_callback: report, signal, ...rest } = options;
    throwIfAborted(signal);
    if (if_busy !== "fail" && if_busy !== "wait") {
      throw failure("bad-option", `if_busy must be "fail" or "wait", but is ${JSON.stringify(if_busy)}`);
    }
    // Data that took minutes to import should not go when the disk fills up. A refusal changes nothing, and the
    // answer may take as long as a person likes.
    navigator.storage?.persist?.().catch(() => false);
    const sent = sendable(source, nameOf(source, file_name));
    try {
      const wait = if_busy === "wait" ? { signal } : undefined;
      return await this.#alone(() => {
        return withShared((client) => {
          const args = { name: this.name, source: sent.source, options: rest, resume };
          return client.call("import", args, { report, signal, transfer: sent.transfer });
        });
      }, wait);
    } finally {
      sent.close();
    }
  }

  /** What the dataset holds. */
  info(): Promise<DatasetInfo> {
    return stored("dataset_info", { name: this.name });
  }

  /** Some of its rows, each with where it came from. */
  rows(first = 0, count = 20): Promise<StoredRow[]> {
    return stored("dataset_rows", { name: this.name, first, count });
  }

  /**
   * The numbers of the rows, counted from zero, that a run with this `test_size` holds out, so that they can be evaluated one by
   * one, with or without the run. `bad-option` where it is no share.
   */
  async held_out(test_size: number): Promise<number[]> {
    if (typeof test_size !== "number") throw failure("bad-option", "test_size must be a number");
    return [...(await stored("held_out_rows", { name: this.name, test_size }))];
  }

  /** Leaves out rows that are the same as an earlier one, and tells how many there were. */
  deduplicate(): Promise<number> {
    return this.#alone(() => stored("deduplicate", { name: this.name }));
  }

  /** Gives up an interrupted import and frees the space it took. */
  discard_pending(): Promise<void> {
    return this.#alone(() => stored("discard_pending", { name: this.name }));
  }

  /**
   * Gives the dataset another name of up to 200 characters, at once and as a whole: its rows stay where they are, and so do
   * the tokens that were made of them. Trainers of whatever tab follow; other Datasets of the old name are of an empty one
   * then. `bad-state` where there is one of that name already, and while rows are imported or turned into tokens.
   *
   * Runs keep the names that they have, also those that were named after the rows: to go on with such a one, pass the name
   * that the dataset had as `run_name`. Without it, `resume_from_checkpoint` throws `bad-state` and says so.
   */
  async rename(name: string): Promise<void> {
    if (typeof name !== "string") throw failure("bad-option", "the new name of a dataset must be a string");
    const from = this.#name;
    const move = () => whileNotTokenised(from, () => stored("rename_dataset", { name: from, to: name }));
    await alone(from, name === from ? move : () => alone(name, move));
    this.#name = name;
    tellRenamed({ from, to: name });
  }

  /** Removes the rows and all that was made from them. */
  delete(): Promise<void> {
    return this.#alone(() => stored("delete_dataset", { name: this.name }));
  }

  #alone<T>(work: () => Promise<T>, wait?: { signal: AbortSignal | undefined }): Promise<T> {
    return alone(this.#name, work, wait);
  }
}

/** Keeps two tabs, or two calls, from changing one dataset at the same time; `wait` is to wait for the other. */
async function alone<T>(name: string, work: () => Promise<T>, wait?: { signal: AbortSignal | undefined }): Promise<T> {
  const options = wait ? { ...(wait.signal && { signal: wait.signal }) } : { ifAvailable: true };
  let is_mine = false;
  const held = (lock: Lock | null) => {
    if (!lock) throw failure("bad-state", `dataset "${name}" is being changed by another call or tab`);
    is_mine = true;
    return work();
  };
  try {
    return await locks().request(`tabtune-dataset:${name}`, options, held);
  } catch (thrown) {
    throw wait?.signal?.aborted && !is_mine ? cancelled() : thrown;
  }
}

function nameOf(source: DataSource, file_name: string | undefined): string {
  return file_name ?? (source instanceof File ? source.name : "rows.jsonl");
}
