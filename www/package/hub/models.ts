import { nameAt } from "./folder.js";
import type { HubList } from "./list.js";
import { entries, openStore, readJson, recordKey, type FileRecord } from "./store.js";

/** A model that was downloaded, wholly or in part. */
export interface CachedModel {
  /** The hub id, or the folder's address. */
  name: string;
  /** As it was asked for; empty for a folder that is not on a hub. */
  revision: string;
  /** What the cache holds of it. Files that two revisions share count for both. */
  bytes: number;
  /** Whether its weights and everything else that was begun are there. */
  complete: boolean;
}

/** A file of the cache and how much of it there is. */
export interface KeptFile extends FileRecord {
  bytes: number;
}

/** A folder at a revision, as the cache has it. */
export interface KeptModel {
  /** The folder's address. */
  folder: string;
  revision: string;
  /** Undefined for a folder that is not on a hub. */
  list: HubList | undefined;
  files: KeptFile[];
}

/** The same of `carry.ts`, which loads this where it is asked for. */
export async function cachedModels(): Promise<CachedModel[]> {
  const cache = await openStore();
  return cache ? (await keptModels(cache)).map(summaryOf) : [];
}

/** The same with all that is known of it. */
export async function keptModels(cache: Cache): Promise<KeptModel[]> {
  const lists: { folder: string; revision: string; list: HubList }[] = [];
  const files = new Map<string, KeptFile>();
  const all = await entries(cache);
  for (const { key, kind, fields } of all) {
    const { folder = "", revision = "" } = fields;
    if (kind === "list") {
      const list = await readJson<HubList>(cache, key);
      if (list) lists.push({ folder, revision, list });
    } else if (kind === "file") {
      const record = await readJson<FileRecord>(cache, key);
      if (record) files.set(key, { ...record, bytes: 0 });
    }
  }
  for (const { kind, fields } of all) {
    const { folder = "", file = "", version = "", bytes, index } = fields;
    const owner = kind === "part" ? files.get(recordKey({ folder, file, version })) : undefined;
    if (owner) owner.bytes += Math.min(Number(bytes), owner.size - Number(bytes) * Number(index));
  }

  const kept = [...files.values()];
  const models: KeptModel[] = lists.map(({ folder, revision, list }) => {
    const listed = ({ file, version }: KeptFile) => list.files[file]?.version === version;
    return { folder, revision, list, files: kept.filter((file) => file.folder === folder && listed(file)) };
  });
  const on_hubs = new Set(lists.map(({ folder }) => folder));
  for (const folder of new Set(kept.map((file) => file.folder))) {
    if (on_hubs.has(folder)) continue;
    models.push({ folder, revision: "", list: undefined, files: kept.filter((file) => file.folder === folder) });
  }
  return models;
}

/** The same of `carry.ts`. */
export async function forgetModel(name: string): Promise<void> {
  const cache = await openStore();
  if (!cache) return;
  for (const { key, fields } of await entries(cache)) {
    if (nameAt(fields["folder"] ?? "") === name) await cache.delete(key);
  }
}

/** What is told of it to people. */
export function summaryOf({ folder, revision, files }: KeptModel): CachedModel {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { name: nameAt(folder), revision, bytes, complete: isComplete(files) };
}

/** Whether nothing that was begun is missing, and the weights are there. Shards say in their names how many there are. */
export function isComplete(files: readonly Pick<FileRecord, "file" | "state">[]): boolean {
  if (files.some(({ state }) => state === "begun")) return false;
  return ["safetensors", "gguf"].some((kind) => {
    const weights = files.filter(({ file }) => file.endsWith(`.${kind}`));
    return weights.some(({ file }) => weights.length >= Number(/-of-(\d+)\.\w+$/.exec(file)?.[1] ?? 1));
  });
}
