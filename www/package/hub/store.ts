const CACHE = "tabtune-models";

/** Keys of the cache must be addresses; nothing is ever fetched from here. */
const ROOT = "https://tabtune.invalid/";

/** One version of a file. The version names the content, so that a changed file is another entry. */
export interface FileId {
  /** The folder's address. */
  folder: string;
  file: string;
  version: string;
}

/** What is known of a file in the cache. */
export interface FileRecord extends FileId {
  size: number;
  part_bytes: number;
  /**
   * "begun": parts may be missing. "whole": all parts are there, and agreed with the checksum where the
   * hub gives one. "copy": transformers.js's cache has the file, and it agreed as well.
   */
  state: "begun" | "whole" | "copy";
}

/** A key of the cache: a list of files, a file's record, or a part of a file. */
export interface Entry {
  kind: "list" | "file" | "part";
  fields: Record<string, string>;
}

/** Opens the cache; undefined where the browser has none, as for pages that did not come over https. */
export async function openStore(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    // Browsers that deny storage to a page, such as one in a foreign frame, say so only here.
    return undefined;
  }
}

export function listKey(folder: string, revision: string): string {
  return keyOf("list", { folder, revision });
}

export function recordKey({ folder, file, version }: FileId): string {
  return keyOf("file", { folder, file, version });
}

export function partKey({ folder, file, version }: FileId, part_bytes: number, index: number): string {
  return keyOf("part", { folder, file, version, bytes: String(part_bytes), index: String(index) });
}

function keyOf(kind: Entry["kind"], fields: Record<string, string>): string {
  return `${ROOT}${kind}?${new URLSearchParams(fields)}`;
}

/** All entries of the cache. */
export async function entries(cache: Cache): Promise<(Entry & { key: string })[]> {
  return (await cache.keys()).map(({ url }) => {
    const { pathname, searchParams } = new URL(url);
    return { key: url, kind: pathname.slice(1) as Entry["kind"], fields: Object.fromEntries(searchParams) };
  });
}

export async function readJson<T>(cache: Cache | undefined, key: string): Promise<T | undefined> {
  return (await cache?.match(key))?.json() as Promise<T> | undefined;
}

/** Keeps a small value. */
export async function putJson(cache: Cache, key: string, value: unknown): Promise<void> {
  await cache.put(key, new Response(JSON.stringify(value)));
}

/** The same; where there is no room for it, something is looked up or checked again later. */
export async function writeJson(cache: Cache | undefined, key: string, value: unknown): Promise<void> {
  try {
    if (cache) await putJson(cache, key, value);
  } catch (thrown) {
    if (!isQuota(thrown)) throw thrown;
  }
}

/** Removes records and parts of a folder's files, but for the versions that `keep` names. */
export async function removeFiles(
  cache: Cache,
  folder: string,
  keep: (file: string, version: string) => boolean,
): Promise<void> {
  for (const { key, kind, fields } of await entries(cache)) {
    if (kind === "list" || fields["folder"] !== folder) continue;
    if (!keep(fields["file"] ?? "", fields["version"] ?? "")) await cache.delete(key);
  }
}

export function isQuota(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === "QuotaExceededError";
}
