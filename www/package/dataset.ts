import { detailsOf, failure, TabtuneError } from "./errors.js";
import type { DatasetSource } from "./protocol.js";

const DATABASE = "tabtune-files";
const STORE = "files";

/** The file behind a dataset, as it lies in IndexedDB. */
interface Stored {
  file: Blob;
  file_name: string;
}

/**
 * Training rows by name: a JSONL file kept in the browser's own storage (IndexedDB), which outlives the
 * tab. A trainer reads the rows from there and tokenises them for its model when a run is prepared.
 */
export class Dataset {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Opens the dataset of that name, which is empty until something is imported. */
  static async open(name: string): Promise<Dataset> {
    if (!name) throw failure("bad-option", "a dataset needs a name");
    return new Dataset(name);
  }

  /**
   * Stores a JSONL file as this dataset, replacing what was there. A row is
   * `{"messages": [{"role", "content"}, …]}`, `{"prompt", "completion"}` or `{"text"}`; rows are
   * checked when a run is prepared, since only then the tokenizer is known.
   */
  async import(file: Blob, options: { file_name?: string } = {}): Promise<void> {
    const file_name = options.file_name ?? (file instanceof File ? file.name : `${this.name}.jsonl`);
    await this.#access("readwrite", (store) => store.put({ file, file_name } satisfies Stored, this.name));
  }

  /** Removes the stored file. */
  async delete(): Promise<void> {
    await this.#access("readwrite", (store) => store.delete(this.name));
  }

  /** The stored file, for the worker. An empty dataset is an error. */
  async source(): Promise<DatasetSource> {
    const stored = await this.#access<Stored | undefined>("readonly", (store) => store.get(this.name));
    if (!stored) throw failure("bad-data", `dataset "${this.name}" is empty: import a file first`);
    return { name: this.name, ...stored };
  }

  /** Runs one request and waits until its transaction is complete, so that what was put is kept. */
  async #access<T>(mode: IDBTransactionMode, ask: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    try {
      const database = await openDatabase();
      try {
        return await new Promise<T>((resolve, reject) => {
          const transaction = database.transaction(STORE, mode);
          const request = ask(transaction.objectStore(STORE));
          transaction.oncomplete = () => resolve(request.result as T);
          transaction.onabort = () => reject(transaction.error ?? request.error);
        });
      } finally {
        database.close();
      }
    } catch (thrown) {
      const { code, message } = detailsOf(thrown);
      const context = [`dataset "${this.name}" in the browser's storage`];
      throw new TabtuneError({ code: code === "internal" ? "io" : code, message, context });
    }
  }
}

function openDatabase(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
