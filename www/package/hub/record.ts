import { failure, type TabtuneError } from "../errors.js";
import { FILE_NAME, HUB_ID, hubFolderAt } from "./folder.js";
import { fieldsOf, MOST_FILE_BYTES, type ListedFile } from "./list.js";
import { isCheckable } from "./sums.js";

/** What is told of a model that was exported. All of it is JSON. */
export interface ModelRecord {
  /** Of this form. */
  version: 1;
  /** The model's page on its hub, or its folder's address, which ends with a slash. */
  address: string;
  /** As it was asked for; empty for a folder that is not on a hub. */
  revision: string;
  /** What the hub told of the revision: the commit and all of its files; null for a folder that is not on a hub. */
  list: { sha: string; files: Record<string, ListedFile> } | null;
  /** The files that come along. */
  files: RecordedFile[];
}

/** A file of an exported model. */
export interface RecordedFile {
  name: string;
  /** Names the content: as the hub's list has it, or what a server without a list told of it. */
  version: string;
  size: number;
}

const VERSION = 1;
const MOST = { address: 2000, revision: 250, name: 250, version: 1000, files: 5000, listed: 100_000 };
const SHA256 = /^[0-9a-f]{64}$/;

/** Reads a record of which nothing is believed. What it has beside the known fields is left out. */
export function readRecord(value: unknown): ModelRecord {
  const { version, address, revision, list, files } = fieldsOf(value);
  if (typeof version === "number" && version > VERSION) {
    throw failure("bad-state", "the model's record was written by a later version of tabtune; update this one, and import it then");
  }
  if (version !== VERSION) throw wrong("its version is no number that is known");
  if (typeof address !== "string" || address.length > MOST.address || !isAddress(address)) throw wrong("its address is none of a model");
  const is_on_hub = !address.endsWith("/");
  if (typeof revision !== "string" || revision.length > MOST.revision || (revision !== "") !== is_on_hub) throw wrong("its revision is none");
  const listed = is_on_hub ? listIn(list) : null;
  if (!is_on_hub && list !== null) throw wrong("it has a hub's list, and its address is on no hub");
  if (!Array.isArray(files) || files.length === 0 || files.length > MOST.files) throw wrong("its files are none");
  const read = files.map((file) => fileIn(file, listed));
  const names = new Set<string>();
  for (const { name } of read) {
    if (names.has(name)) throw wrong(`${name} is in it twice`);
    names.add(name);
  }
  return { version, address, revision, list: listed, files: read };
}

/** Whether a model's page on a hub, or a folder, can lie there: written as it is kept, so that no two addresses are one. */
function isAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { href, protocol, username, password, search, hash } = new URL(text);
  const is_plain = href === text && username + password + search + hash === "" && !/[?#]/.test(text) && /^https?:$/.test(protocol);
  return is_plain && (text.endsWith("/") || isOnHub(text));
}

function isOnHub(text: string): boolean {
  const { id, hub } = hubFolderAt(text, "");
  return HUB_ID.test(id) && URL.canParse(hub);
}

function listIn(value: unknown): NonNullable<ModelRecord["list"]> {
  const { sha, files } = fieldsOf(value);
  if (typeof sha !== "string" || !/^\w[\w.-]{0,99}$/.test(sha)) throw wrong("its list names no commit");
  const all = Object.entries(fieldsOf(files));
  if (all.length > MOST.listed) throw wrong("its list has too many files");
  // What has another name is never asked for.
  const named = all.filter(([name]) => isName(name));
  return { sha, files: Object.fromEntries(named.map(([name, file]) => [name, listedIn(name, file)])) };
}

function listedIn(name: string, value: unknown): ListedFile {
  const { size, version, sha256 } = fieldsOf(value);
  const known = { size: sizeIn(name, size), version: versionIn(name, version) };
  if (sha256 === undefined) return known;
  if (sha256 !== version || !SHA256.test(known.version)) throw wrong(`the sha256 of ${name} is none`);
  return { ...known, sha256: known.version };
}

function fileIn(value: unknown, list: ModelRecord["list"]): RecordedFile {
  const { name, version, size } = fieldsOf(value);
  if (typeof name !== "string" || !isName(name)) throw wrong(`${JSON.stringify(name)?.slice(0, 60)} is no name of a file in a model's folder`);
  const file = { name, version: versionIn(name, version), size: sizeIn(name, size) };
  if (!list) return file;
  const listed = Object.hasOwn(list.files, name) ? list.files[name] : undefined;
  if (listed?.version !== file.version || listed.size !== file.size) throw wrong(`its list has no such ${name}`);
  if (!isCheckable(listed)) throw wrong(`the hub gives no sum by which ${name} could be checked`);
  return file;
}

function isName(name: string): boolean {
  return name.length <= MOST.name && FILE_NAME.test(name);
}

function versionIn(name: string, version: unknown): string {
  if (typeof version !== "string" || version === "" || version.length > MOST.version) throw wrong(`the version of ${name} is none`);
  return version;
}

function sizeIn(name: string, size: unknown): number {
  if (!Number.isSafeInteger(size) || (size as number) < 0 || (size as number) > MOST_FILE_BYTES) throw wrong(`the size of ${name} is none`);
  return size as number;
}

function wrong(what: string): TabtuneError {
  return failure("bad-model", `the model's record cannot be used: ${what}`);
}
