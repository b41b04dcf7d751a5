import { failure } from "../errors.js";
import type { HubFolder } from "./folder.js";
import type { Job } from "./job.js";
import { discard, Passing, refusal, request, retrying } from "./request.js";
import { entries, listKey, readJson, removeFiles, writeJson } from "./store.js";

/** A file as the hub lists it. */
export interface ListedFile {
  size: number;
  /** Names the content: the sha256 of a large file, git's own sum of any other. */
  version: string;
  sha256?: string;
}

/** A model at one commit. */
export interface HubList {
  sha: string;
  files: Record<string, ListedFile>;
}

/** An element of the hub's answer, as far as it is looked at. */
interface TreeItem {
  type: string;
  path: string;
  size: number;
  oid: string;
  lfs?: { oid: string; size: number };
}

/**
 * The files of a model. The revision is resolved to a commit first, so that a branch which moves meanwhile
 * cannot mix two versions. While the hub cannot be reached, the last list of the revision serves.
 */
export async function hubList(job: Job, folder: HubFolder): Promise<HubList> {
  const key = listKey(job.address, folder.revision);
  const known = await readJson<HubList>(job.cache, key);
  // What a commit holds never changes.
  if (known && known.sha === folder.revision) return known;
  const list = await retrying(job, async () => {
    try {
      return await fetchList(job, folder);
    } catch (thrown) {
      if (known && thrown instanceof Passing) return known;
      throw thrown;
    }
  });
  if (job.cache && list.sha !== known?.sha) {
    await writeJson(job.cache, key, list);
    await removeUnlisted(job.cache, job.address);
  }
  return list;
}

async function fetchList(job: Job, folder: HubFolder): Promise<HubList> {
  const { hub, id, revision } = folder;
  const api = `${hub}/api/models/${id}`;
  const commit = await fetchJson(job, folder, `${api}/revision/${encodeURIComponent(revision)}`);
  const { sha } = commit.value as { sha?: unknown };
  if (typeof sha !== "string") throw failure("io", `${api}: the hub does not say which commit ${revision} is`);

  const files: Record<string, ListedFile> = {};
  let page: string | undefined = `${api}/tree/${sha}?recursive=false`;
  while (page) {
    const { value, next } = await fetchJson(job, folder, page);
    if (!Array.isArray(value)) throw failure("io", `${page}: the hub's answer is no list of files`);
    for (const { type, path, size, oid, lfs } of value as TreeItem[]) {
      if (type !== "file") continue;
      files[path] = lfs ? { size: lfs.size, version: lfs.oid, sha256: lfs.oid } : { size, version: oid };
    }
    page = next;
  }
  return { sha, files };
}

/** An answer of the hub, and the address of the page after it if there is one. */
async function fetchJson(
  job: Job,
  folder: HubFolder,
  address: string,
): Promise<{ value: unknown; next: string | undefined }> {
  const response = await request(job, address, { cache: "no-cache" });
  if (response.status === 404) {
    discard(response);
    const model = `model ${folder.id} with a revision ${folder.revision}`;
    throw failure("io", `${folder.hub} has no ${model}, or it is private and needs a token`);
  }
  if (!response.ok) throw refusal(job, address, response);
  const next = /<([^>]*)>;\s*rel="next"/.exec(response.headers.get("link") ?? "")?.[1];
  try {
    return { value: await response.json(), next: next && new URL(next, address).href };
  } catch (thrown) {
    throw new Passing(address, `the hub's answer is no JSON (${String(thrown)})`);
  }
}

/** Removes versions of files that no list knows any more; files that did not change stay in use. */
async function removeUnlisted(cache: Cache, folder: string): Promise<void> {
  const listed = new Set<string>();
  for (const { key, kind, fields } of await entries(cache)) {
    if (kind !== "list" || fields["folder"] !== folder) continue;
    const list = await readJson<HubList>(cache, key);
    for (const [file, { version }] of Object.entries(list?.files ?? {})) listed.add(`${version} ${file}`);
  }
  await removeFiles(cache, folder, (file, version) => listed.has(`${version} ${file}`));
}
