import { failure, type TabtuneError } from "../errors.js";
import type { ExportedModel } from "./carry.js";
import { hubFolderAt, nameAt } from "./folder.js";
import { TUNING } from "./job.js";
import { isComplete, keptModels, type KeptFile, type KeptModel } from "./models.js";
import { Parts } from "./parts.js";
import { readRecord, type ModelRecord } from "./record.js";
import { openStore } from "./store.js";
import { transformersCopy } from "./transformers.js";

/** The same of `carry.ts`, which loads this where it is asked for. */
export async function exportModel(name: string, revision?: string): Promise<ExportedModel> {
  const cache = await openStore();
  const found = cache ? (await keptModels(cache)).filter((model) => isNamed(model, name, revision)) : [];
  const [model] = found;
  const asked = revision ? `${name}, ${revision}` : name;
  if (!cache || !model) throw failure("bad-option", `${asked} is not in this browser's cache; cachedModels tells what is`);
  if (found.length > 1) {
    const several = found.map((other) => `${other.folder} ${other.revision}`.trim()).join(", ");
    throw failure("bad-option", `${asked} is here more than once: say which of ${several}`);
  }
  if (!isComplete(model.files)) throw failure("bad-state", `${asked} is downloaded in part: load it once more, and export it then`);
  const record = readRecord(recordOf(model));
  const files = new Map<string, FileInCache>();
  for (const file of model.files) files.set(file.file, await FileInCache.find(cache, model, file));
  return {
    record,
    read(name) {
      const file = files.get(name);
      if (!file) throw failure("bad-option", `${JSON.stringify(name)} is no file of ${asked}`);
      return file.pieces();
    },
  };
}

/** By the name that people know, or by the address, which tells models of two hubs apart. */
function isNamed(model: KeptModel, name: string, revision: string | undefined): boolean {
  const is_it = nameAt(model.folder) === name || model.folder === name;
  return is_it && (revision === undefined || model.revision === revision);
}

function recordOf({ folder, revision, list, files }: KeptModel): ModelRecord {
  const named = files.map(({ file, version, size }) => ({ name: file, version, size }));
  named.sort((one, other) => (one.name < other.name ? -1 : 1));
  return { version: 1, address: folder, revision, list: list ? { sha: list.sha, files: list.files } : null, files: named };
}

/** A file that is whole in this site's cache, or in that of transformers.js. */
class FileInCache {
  readonly #name: string;
  readonly #source: Parts | Blob;

  private constructor(name: string, source: Parts | Blob) {
    this.#name = name;
    this.#source = source;
  }

  /** Looks whether all of it is there, so that it does not show in the middle. */
  static async find(cache: Cache, model: KeptModel, { file, version, size, part_bytes, state }: KeptFile): Promise<FileInCache> {
    if (state === "copy") {
      const copy = await transformersCopy(hubFolderAt(model.folder, model.revision), { name: file, size });
      if (!copy) throw gone(file);
      return new FileInCache(file, copy);
    }
    const parts = new Parts(cache, { folder: model.folder, file, version }, size, part_bytes);
    if ((await parts.stored()).size < parts.count) throw gone(file);
    return new FileInCache(file, parts);
  }

  async *pieces(): AsyncGenerator<Blob, void, undefined> {
    if (this.#source instanceof Blob) return yield* cut(this.#source);
    for (let index = 0; index < this.#source.count; index++) {
      const part = await this.#source.get(index);
      if (!part) throw gone(this.#name);
      yield* cut(part);
    }
  }
}

function* cut(blob: Blob): Generator<Blob, void, undefined> {
  for (let at = 0; at < blob.size; at += TUNING.part_bytes) yield blob.slice(at, at + TUNING.part_bytes);
}

function gone(name: string): TabtuneError {
  return failure("io", `${name} is no longer whole in the browser's cache: load the model once more, and export it then`);
}
