import { models } from "../lazy.js";
import type { ProgressCallback } from "../types.js";
import type { CachedModel } from "./models.js";
import type { ModelRecord } from "./record.js";

/** A model as it travels between browsers. */
export interface ExportedModel {
  /** What it is, and which files come along. */
  record: ModelRecord;
  /** The content of one of these files, in order, in pieces of any size. */
  read(name: string): AsyncIterable<Blob> | Iterable<Blob>;
}

/** How {@link importModel} is followed and ended. */
export interface ImportModelOptions {
  /** Hears of each file, as of downloads. */
  progress_callback?: ProgressCallback;
  /** Ends it as `cancelled`. */
  signal?: AbortSignal;
}

/** What lies in this site's cache, for a page that shows and frees storage. */
export async function cachedModels(): Promise<CachedModel[]> {
  return (await models()).cachedModels();
}

/** Frees what the cache holds of a model, all revisions of it; `name` is as {@link cachedModels} tells it. */
export async function forgetModel(name: string): Promise<void> {
  return (await models()).forgetModel(name);
}

/**
 * Takes a downloaded model out of this site's cache, to keep it elsewhere or to bring it into another browser by
 * {@link importModel}. `name` and `revision` are as {@link cachedModels} tells them; the revision may be left out where there is
 * one alone. Nothing is read before `read` is asked for, and then in pieces of at most 16 MiB. Tokens are no part of it. Throws
 * `bad-option` for what is not here, and `bad-state` for what is downloaded in part.
 */
export async function exportModel(name: string, revision?: string): Promise<ExportedModel> {
  return (await models()).exportModel(name, revision);
}

/**
 * Puts a model that {@link exportModel} took out of another browser's cache into that of this site, as if it had been downloaded:
 * `Trainer.load` of its name then needs no network where it is on a hub. Files that are here whole are neither asked for nor
 * written, and nothing that is here is replaced.
 *
 * Nothing is believed. The record is checked field by field, and each file of a hub by the sum that the hub's list gives: sha256 for
 * large files, git's sha1 for the others. That list itself came along, so it tells that the files are what was exported, not that
 * the hub has them: it serves until the hub is reached, and then the hub's own takes its place, and files that this does not have
 * go. A folder on another server has no sums; its files count as long as the server says that they are of this version.
 *
 * Throws `bad-model` for a file that is not what its sum says, is cut off or too long, and for a record that is none; `bad-state`
 * where another version of the model is here; `quota-exceeded` where there is no room. Whatever is thrown, also by `read`, nothing
 * of it stays.
 */
export async function importModel(exported: ExportedModel, options: ImportModelOptions = {}): Promise<CachedModel> {
  return (await models()).importModel(exported, options);
}
