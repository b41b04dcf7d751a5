import { failure, throwIfAborted } from "../errors.js";
import { checkOptions, IMPORT_MODEL } from "../options.js";
import type { ProgressCallback } from "../types.js";
import { Arrival, stepsOf } from "./arrival.js";
import type { ExportedModel, ImportModelOptions } from "./carry.js";
import { hubFolderAt, nameAt } from "./folder.js";
import { TUNING } from "./job.js";
import type { HubList } from "./list.js";
import { isComplete, keptModels, summaryOf, type CachedModel } from "./models.js";
import { freeBytes, noRoom, Parts } from "./parts.js";
import { reporter } from "./persist.js";
import { Progress } from "./progress.js";
import { readRecord, type ModelRecord, type RecordedFile } from "./record.js";
import { entries, isQuota, listKey, openStore, partKey, putJson, readJson, recordKey, type FileId, type FileRecord } from "./store.js";
import { transformersCopy } from "./transformers.js";

/** The same of `carry.ts`, which loads this where it is asked for. */
export async function importModel(exported: ExportedModel, options: ImportModelOptions): Promise<CachedModel> {
  return importInParts(exported, options, TUNING.part_bytes);
}

/** The same, in parts of another size. */
export async function importInParts(exported: ExportedModel, options: ImportModelOptions, part_bytes: number): Promise<CachedModel> {
  checkOptions("importModel", options, IMPORT_MODEL);
  if (typeof exported?.read !== "function") throw failure("bad-option", "importModel takes what exportModel gives: { record, read }");
  const record = readRecord(exported.record);
  const name = nameAt(record.address);
  if (!isComplete(record.files.map(({ name }) => ({ file: name, state: "whole" })))) {
    throw failure("bad-model", `${name}: its weights are not, or not all, among the files that come along`);
  }
  const cache = await openStore();
  if (!cache) throw failure("unsupported", "this browser keeps no models for this page: storage is for pages on https or at localhost");
  await new Import(cache, record, { exported, options, part_bytes }).run();
  const kept = (await keptModels(cache)).find(({ folder, revision }) => folder === record.address && revision === record.revision);
  if (!kept) throw failure("io", `${name}: the browser's cache no longer has what was just put there`);
  return summaryOf(kept);
}

/** What is to be imported, and how. */
interface Given {
  exported: ExportedModel;
  options: ImportModelOptions;
  part_bytes: number;
}

/** The way of one model into the cache. What it puts there, it takes away again where it fails. */
class Import {
  readonly #cache: Cache;
  readonly #record: ModelRecord;
  readonly #exported: ExportedModel;
  readonly #signal: AbortSignal | undefined;
  readonly #part_bytes: number;
  readonly #told: { name: string; report: ProgressCallback };
  readonly #undo: (() => Promise<unknown>)[] = [];

  constructor(cache: Cache, record: ModelRecord, { exported, options, part_bytes }: Given) {
    this.#cache = cache;
    this.#record = record;
    this.#exported = exported;
    this.#part_bytes = part_bytes;
    const { progress_callback, signal } = options;
    this.#signal = signal;
    this.#told = { name: nameAt(record.address), report: reporter(progress_callback) };
  }

  async run(): Promise<void> {
    throwIfAborted(this.#signal);
    await this.#refuseOthers();
    const missing: RecordedFile[] = [];
    for (const file of this.#record.files) if (!(await this.#isHere(file))) missing.push(file);
    const needed = missing.reduce((sum, { size }) => sum + size, 0);
    const free = await freeBytes();
    if (free !== undefined && needed > free) throw await noRoom(this.#told.name, needed);
    try {
      await this.#putList();
      // Until it is whole, the model is one that is downloaded in part, should the page be closed.
      for (const file of missing) await this.#note(file, "begun");
      for (const file of missing) await this.#bring(file);
    } catch (thrown) {
      for (const undo of this.#undo.reverse()) await undo().catch(() => undefined);
      throw isQuota(thrown) ? await noRoom(this.#told.name, needed) : thrown;
    }
  }

  /** What is here of another version would be what is loaded, so there is no use for this one beside it. */
  async #refuseOthers(): Promise<void> {
    const { address, revision, files } = this.#record;
    const here = await readJson<HubList>(this.#cache, listKey(address, revision));
    const versions = new Map<string, string>();
    if (here) for (const [name, { version }] of Object.entries(here.files)) versions.set(name, version);
    else if (!this.#record.list) {
      for (const { kind, fields } of await entries(this.#cache)) {
        if (kind === "file" && fields["folder"] === address) versions.set(fields["file"] ?? "", fields["version"] ?? "");
      }
    }
    const other = files.find(({ name, version }) => (here || versions.has(name)) && versions.get(name) !== version);
    if (!other) return;
    const reason = `another version of it is here, with another ${other.name}, and is not replaced`;
    throw failure("bad-state", `${this.#told.name}: ${reason}; forgetModel takes that one away, and then this one can be imported`);
  }

  async #isHere(file: RecordedFile): Promise<boolean> {
    const record = await readJson<FileRecord>(this.#cache, recordKey(this.#id(file)));
    if (record?.state === "copy") {
      return (await transformersCopy(hubFolderAt(this.#record.address, this.#record.revision), file)) !== undefined;
    }
    if (record?.state !== "whole") return false;
    const parts = new Parts(this.#cache, this.#id(file), file.size, record.part_bytes);
    return (await parts.stored()).size === parts.count;
  }

  async #putList(): Promise<void> {
    const { address, revision, list } = this.#record;
    const key = listKey(address, revision);
    if (list && !(await this.#cache.match(key))) await this.#putJson(key, { ...list, brought: true } satisfies HubList);
  }

  async #note(file: RecordedFile, state: FileRecord["state"]): Promise<void> {
    const key = recordKey(this.#id(file));
    const { part_bytes = this.#part_bytes } = (await readJson<FileRecord>(this.#cache, key)) ?? {};
    await this.#putJson(key, { ...this.#id(file), size: file.size, part_bytes, state } satisfies FileRecord);
  }

  async #bring(file: RecordedFile): Promise<void> {
    const progress = new Progress(this.#told, file.name, file.size);
    progress.begin();
    const id = this.#id(file);
    const { part_bytes = this.#part_bytes } = (await readJson<FileRecord>(this.#cache, recordKey(id))) ?? {};
    const parts = new Parts(this.#cache, id, file.size, part_bytes);
    const arrival = new Arrival(file, this.#record.list?.files[file.name], parts, async (index, part) => {
      const key = partKey(id, part_bytes, index);
      this.#undo.push(() => this.#cache.delete(key));
      await this.#cache.put(key, new Response(part));
    });
    for await (const chunk of this.#chunksOf(file)) {
      await arrival.add(chunk);
      progress.add(chunk.length);
    }
    await arrival.end();
    await this.#note(file, "whole");
    progress.done();
  }

  async *#chunksOf({ name }: RecordedFile): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
    for await (const piece of this.#exported.read(name)) {
      if (!(piece instanceof Blob)) throw failure("bad-option", `read must give Blobs, but for ${name} it gave something else`);
      try {
        for await (const chunk of stepsOf(piece)) {
          throwIfAborted(this.#signal);
          yield chunk;
        }
      } catch (thrown) {
        // A Blob of a file that was changed or taken away meanwhile.
        throw thrown instanceof DOMException ? failure("io", `${name} could not be read (${String(thrown)})`) : thrown;
      }
    }
  }

  async #putJson(key: string, value: unknown): Promise<void> {
    const before = await readJson(this.#cache, key);
    this.#undo.push(() => (before === undefined ? this.#cache.delete(key) : putJson(this.#cache, key, before)));
    await putJson(this.#cache, key, value);
  }

  #id({ name, version }: RecordedFile): FileId {
    return { folder: this.#record.address, file: name, version };
  }
}
