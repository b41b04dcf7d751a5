import { failure } from "../errors.js";
import type { HubFolder } from "./folder.js";
import type { Job } from "./job.js";
import { discard, Passing, refusal, request, retrying, textWithin } from "./request.js";
import { entries, listKey, readJson, removeFiles, writeJson } from "./store.js";

/** A file as a hub lists it. */
export interface ListedFile {
  size: number;
  /** Names the content: the sha256 of a large file, git's own sum of any other. */
  version: string;
  /** Of large files. */
  sha256?: string;
}

/** A model at one commit. */
export interface HubList {
  sha: string;
  files: Record<string, ListedFile>;
  /** It came with a model that was brought from elsewhere, and the hub has not been asked since. */
  brought?: true;
}

/** Pages of a list that are followed. The hub's have a thousand files each, and models have some dozens. */
const MOST_PAGES = 100;

/** Bytes of one answer. A page of a thousand files has some 200 kB. */
const MOST_BYTES = 16 << 20;

/** Bytes of a file, above which the hub must be mistaken. */
export const MOST_FILE_BYTES = 2 ** 42;

/**
 * The files of a model. The revision is resolved to a commit first, so that a branch which moves meanwhile
 * cannot mix two versions. While the hub cannot be reached, the last list of the revision serves, also one that was
 * brought; once it can be, its own takes the place of that.
 */
export async function hubList(job: Job, folder: HubFolder): Promise<HubList> {
  const key = listKey(job.address, folder.revision);
  const known = await readJson<HubList>(job.cache, key);
  // What a commit holds never changes. Of a list that was brought only somebody said what it holds.
  if (known && known.sha === folder.revision && !known.brought) return known;
  const list = await retrying(job, async () => {
    try {
      return await fetchList(job, folder);
    } catch (thrown) {
      if (known && thrown instanceof Passing) return known;
      throw thrown;
    }
  });
  if (job.cache && list !== known && (list.sha !== known?.sha || known.brought)) {
    await writeJson(job.cache, key, list);
    await removeUnlisted(job.cache, job.address);
  }
  return list;
}

async function fetchList(job: Job, folder: HubFolder): Promise<HubList> {
  const { hub, id, revision } = folder;
  const api = `${hub}/api/models/${id}`;
  const commit = await fetchJson(job, folder, `${api}/revision/${encodeURIComponent(revision)}`);
  const { sha } = fieldsOf(commit.value);
  if (typeof sha !== "string") throw failure("io", `${api}: the hub does not say which commit ${revision} is`);

  const files = new Map<string, ListedFile>();
  let page: string | undefined = `${api}/tree/${encodeURIComponent(sha)}?recursive=false`;
  for (let pages = 0; page; pages++) {
    if (pages === MOST_PAGES) throw failure("io", `${api}: the hub's list of files has no end (${pages} pages were read)`);
    const { value, next } = await fetchJson(job, folder, page);
    if (!Array.isArray(value)) throw failure("io", `${page}: the hub's answer is no list of files`);
    for (const item of value) {
      const [path, file] = listedFile(page, item);
      if (file) files.set(path, file);
    }
    page = next;
  }
  return { sha, files: Object.fromEntries(files) };
}

/** An element of the hub's list: its path, and what is known of it if it is a file. */
function listedFile(page: string, item: unknown): [string, ListedFile | undefined] {
  const { type, path, size, oid, lfs } = fieldsOf(item);
  if (typeof path !== "string") throw failure("io", `${page}: the hub's list has an entry without a path`);
  if (type !== "file") return [path, undefined];
  const large = lfs === undefined || lfs === null ? undefined : fieldsOf(lfs);
  const version = large ? large["oid"] : oid;
  if (typeof version !== "string" || (large && !/^[0-9a-f]{64}$/.test(version))) {
    throw failure("io", `${page}: the hub's list gives no checksum of ${path}`);
  }
  const bytes = large ? large["size"] : size;
  if (typeof bytes !== "number" || !Number.isInteger(bytes) || bytes < 0 || bytes > MOST_FILE_BYTES) {
    throw failure("io", `${page}: the hub's list says that ${path} has ${JSON.stringify(bytes)} bytes`);
  }
  return [path, { size: bytes, version, ...(large && { sha256: version }) }];
}

/** The fields of an object; none for what is no object. */
export function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
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
  const text = await textWithin(job, address, response, MOST_BYTES);
  try {
    return { value: JSON.parse(text), next: next && new URL(next, address).href };
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
