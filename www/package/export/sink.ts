import { failure, TabtuneError } from "../errors.js";
import type { Folder } from "../files.js";
import { isQuota } from "../hub/store.js";
import type { ExportedFile } from "../types.js";

/** The folder of the browser's own storage that exports go to. */
const EXPORTS = "tabtune-exports";

/** An open file. */
interface Open {
  name: string;
  bytes: number;
  /** Whether there was none of that name. */
  is_new: boolean;
  write(piece: Uint8Array<ArrayBuffer>): Promise<unknown>;
  close(): Promise<void>;
  abort(): Promise<void>;
}

/** Writes files into a folder, one after the other; a file that did not become whole is removed. */
export class FolderSink {
  readonly files: ExportedFile[] = [];
  readonly #folder: FileSystemDirectoryHandle;
  #open: Open | undefined;

  constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  async create(name: string, bytes: number): Promise<void> {
    await this.#told(name, async () => {
      const is_new = await this.#folder.getFileHandle(name).then(() => false, () => true);
      const handle = await this.#folder.getFileHandle(name, { create: true });
      this.#open = { name, bytes, is_new, ...(await writerOf(handle)) };
    });
  }

  async write(piece: Uint8Array<ArrayBuffer>): Promise<void> {
    const { name, write } = this.#begun;
    await this.#told(name, () => write(piece));
  }

  async finish(): Promise<void> {
    const { name, bytes, close } = this.#begun;
    await this.#told(name, close);
    this.#open = undefined;
    this.files.push({ name, bytes });
  }

  /** Removes what is not whole. */
  async abort(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    if (!open) return;
    await open.abort().catch(() => {});
    if (open.is_new) await this.#folder.removeEntry(open.name).catch(() => {});
  }

  get #begun(): Open {
    if (!this.#open) throw failure("internal", "no file was begun");
    return this.#open;
  }

  async #told<T>(name: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof TabtuneError) throw thrown;
      const what = thrown instanceof Error ? thrown.message : String(thrown);
      throw failure(isQuota(thrown) ? "quota-exceeded" : "io", `${name}: ${what}`);
    }
  }
}

/** Writes into a copy that takes the file's place when it is closed; where browsers have that not, into the file itself. */
async function writerOf(handle: FileSystemFileHandle): Promise<Pick<Open, "write" | "close" | "abort">> {
  if ("createWritable" in handle) {
    const stream = await handle.createWritable();
    return { write: (piece) => stream.write(piece), close: () => stream.close(), abort: () => stream.abort() };
  }
  const { createSyncAccessHandle } = handle as { createSyncAccessHandle?: () => Promise<SyncAccess> };
  if (!createSyncAccessHandle) throw failure("io", "this browser cannot write files");
  const access = await createSyncAccessHandle.call(handle);
  access.truncate(0);
  return {
    write: async (piece) => access.write(piece),
    close: async () => access.close(),
    abort: async () => access.close(),
  };
}

/** A FileSystemSyncAccessHandle, which workers alone have. */
interface SyncAccess {
  truncate(bytes: number): void;
  write(piece: Uint8Array<ArrayBuffer>): number;
  close(): void;
}

/**
 * The folder that a model is written to: the one that was given, or else an empty one in the browser's own storage, where what an
 * earlier export left is gone. Throws `bad-option` where the model's own files lie there, which are still read.
 */
export async function exportFolder(model: Folder, to: FileSystemDirectoryHandle | undefined): Promise<FileSystemDirectoryHandle> {
  const target = to ?? (await stored((root) => root.getDirectoryHandle(EXPORTS, { create: true })));
  if (model.kind === "directory" && (await target.isSameEntry(model.handle))) {
    throw failure("bad-option", `the model itself lies in the folder ${JSON.stringify(target.name)}, which is still read; name another one`);
  }
  if (to) return to;
  return stored(async (root) => {
    await root.removeEntry(EXPORTS, { recursive: true }).catch(() => {});
    return root.getDirectoryHandle(EXPORTS, { create: true });
  });
}

async function stored<T>(work: (root: FileSystemDirectoryHandle) => Promise<T>): Promise<T> {
  try {
    return await work(await navigator.storage.getDirectory());
  } catch (thrown) {
    throw failure("io", `no storage for files: ${String(thrown)}`);
  }
}
