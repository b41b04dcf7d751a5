import { failure } from "../errors.js";
import { Download, type RemoteFile } from "./download.js";
import { addressOf, FILE_NAME, nameAt, type HubFolder, type RemoteFolder, type UrlFolder } from "./folder.js";
import type { Job, OpenOptions, Tuning } from "./job.js";
import { hubList } from "./list.js";
import { fromBlob, type OpenFile } from "./opened.js";
import { peeked, SMALL_BYTES } from "./peek.js";
import { Parts } from "./parts.js";
import { Progress } from "./progress.js";
import { discard, isMissing, request, retrying } from "./request.js";
import { openStore, readJson, recordKey, removeFiles, writeJson, type FileRecord } from "./store.js";
import { agrees, transformersCopy } from "./transformers.js";
import { fetchWhole } from "./whole.js";

/** Looks up a file by name. */
export interface Finder {
  (name: string): Promise<OpenFile | undefined>;
  /** The names of all files; where they are not known beforehand, it is missing or gives undefined. */
  names?: () => Promise<string[] | undefined>;
}

/** A folder on a server. Nothing is asked of it before the first file is looked up. */
export function remoteFinder(
  folder: RemoteFolder,
  options: OpenOptions,
  tuning: Tuning,
): Finder {
  const connect = async () => {
    const address = addressOf(folder);
    const cache = folder.cache ? await openStore() : undefined;
    const { report = () => {}, signal, peek = false } = options;
    const job: Job = { ...tuning, folder, address, name: nameAt(address), cache, report, signal, peek };
    return folder.kind === "hub" ? hubFinder(job, folder) : urlFinder(job, folder);
  };
  let connected: Promise<Finder> | undefined;
  const find = async (name: string) => {
    if (!FILE_NAME.test(name)) throw failure("bad-model", `${JSON.stringify(name)} is no name of a file in a model's folder`);
    return (await (connected ??= connect()))(name);
  };
  return Object.assign(find, { names: async () => (await (connected ??= connect())).names?.() });
}

/** The hub's list says what there is, before anything is downloaded. */
async function hubFinder(job: Job, folder: HubFolder): Promise<Finder> {
  const { sha, files } = await hubList(job, folder);
  const find = async (name: string) => {
    const listed = Object.hasOwn(files, name) ? files[name] : undefined;
    if (!listed) return undefined;
    const address = `${folder.hub}/${folder.id}/resolve/${encodeURIComponent(sha)}/${encodeURIComponent(name)}`;
    const file = { name, address, ...listed };
    return job.peek && !(await isBrought(job, file)) ? peeked(job, file) : opened(job, file);
  };
  return Object.assign(find, { names: async () => Object.keys(files) });
}

/** A server without a list is asked for each file, and says with its length which version it has. */
function urlFinder(job: Job, folder: UrlFolder): Finder {
  return async (name) => {
    const address = `${folder.base}${encodeURIComponent(name)}`;
    const whole = async () => {
      const blob = await fetchWhole(job, name, address);
      return blob ? fromBlob(blob) : missing(folder, name);
    };
    if (!job.cache && !job.peek) return whole();
    const head = await retrying(job, () => request(job, address, { method: "HEAD", cache: "no-store" }));
    discard(head);
    if (isMissing(head, name)) return missing(folder, name);
    const length = head.headers.get("content-length");
    const validator = validatorOf(head);
    if (job.peek && head.ok && Number(length) > SMALL_BYTES) return peeked(job, { name, address, size: Number(length) });
    // Some servers do not answer HEAD, do not tell versions apart, or compress what they send.
    if (!head.ok || length === null || validator === undefined || head.headers.has("content-encoding")) return whole();
    const version = `${validator} ${length}`;
    if (!job.cache) return whole();
    await removeFiles(job.cache, job.address, (file, other) => file !== name || other === version);
    const unchanged = { expected: validator, of: validatorOf };
    return opened(job, { name, address, size: Number(length), version, validator: unchanged });
  };
}

/** A folder without its config may be none, but a model on the hub whose id was written like an address. */
function missing({ base, id }: UrlFolder, name: string): undefined {
  if (id === undefined || !/^(adapter_)?config\.json$/.test(name)) return undefined;
  const hint = `with a slash at its end it is an address; for the model on the hub write its id, owner/name: "${id}"`;
  throw failure("bad-model", `${name} is missing in ${base}: ${hint}`);
}

/** What tells versions of a file apart. Whether a tag is weak depends on how the file was asked for. */
function validatorOf({ headers }: Response): string | undefined {
  return headers.get("etag")?.replace(/^W\//, "") ?? headers.get("last-modified") ?? undefined;
}

/** Whether a file is small or was downloaded before. */
async function isBrought(job: Job, { name, size, version }: RemoteFile): Promise<boolean> {
  const id = { folder: job.address, file: name, version };
  return size <= SMALL_BYTES || (await readJson<FileRecord>(job.cache, recordKey(id)))?.state === "whole";
}

/** A file that the first read brings here. */
function opened(job: Job, file: RemoteFile): OpenFile {
  let brought: Promise<OpenFile> | undefined;
  return {
    size: file.size,
    read: async (start, len) => (await (brought ??= bring(job, file))).read(start, len),
  };
}

async function bring(job: Job, file: RemoteFile): Promise<OpenFile> {
  const { cache, folder } = job;
  const id = { folder: job.address, file: file.name, version: file.version };
  const record = await readJson<FileRecord>(cache, recordKey(id));
  const part_bytes = record?.part_bytes ?? job.part_bytes;
  const note = (state: FileRecord["state"]) =>
    writeJson(cache, recordKey(id), { ...id, size: file.size, part_bytes, state } satisfies FileRecord);
  const progress = new Progress(job, file.name, file.size);
  const parts = new Parts(cache, id, file.size, part_bytes);

  if (record?.state !== "whole") {
    const copy = cache && folder.kind === "hub" ? await transformersCopy(folder, file) : undefined;
    if (copy && (record?.state === "copy" || (await agrees(job, file, copy)))) {
      await note("copy");
      progress.done();
      return fromBlob(copy);
    }
    await note("begun");
    const download = new Download(job, file, parts, progress);
    await download.run();
    const sum = download.sum();
    if (sum !== file.sha256) {
      if (cache) await removeFiles(cache, id.folder, (name, version) => name !== id.file || version !== id.version);
      throw failure("io", `${file.name}: its sha256 is ${sum}, but the hub gives ${file.sha256}; the download was removed`);
    }
    if (parts.kept) await note("whole");
  }
  progress.done();
  return parts;
}
