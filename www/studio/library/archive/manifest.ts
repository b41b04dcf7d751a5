import { ArchiveProblem, shown } from "./problem.js";
import type { FileSum } from "./zip.js";

/** The file that tells what the others are. It is the last one, as it has their sums. */
export const MANIFEST = "manifest.json";
const FORMAT = "tabtune-library";
/** Bytes of a manifest that is read. */
export const MOST_MANIFEST = 16 << 20;

/** What can be in an archive, each with the version of the format that first had it. */
export const KINDS = { run: 1, adapter: 1, dataset: 1, chat: 1, settings: 1, model: 2, steps: 2 } as const;
export type ArchivedKind = keyof typeof KINDS;
/** The latest version: that goes up with each new kind, and when an older page would misread what a newer one writes. */
const VERSION = Math.max(...Object.values(KINDS));

/** Something that was packed. */
export interface ArchivedItem {
  kind: ArchivedKind;
  /** What tells it from others of its kind, in the browser that it came from. */
  id: string;
  name: string;
  /** Milliseconds since 1970; null where nobody knows. */
  date: number | null;
  /** What stands for its content: the sha256 of an adapter's weights, the fingerprint of rows; empty where there is nothing like it. */
  mark: string;
  files: FileSum[];
}

/** A model that was there and is not in the archive: it is downloaded again where it is needed. */
export interface ArchivedModel {
  name: string;
  revision: string;
  bytes: number;
}

/** What an archive tells of itself. */
export interface Manifest {
  format: typeof FORMAT;
  /** The lowest one that has all that is in it, so that older pages read what they can. */
  version: number;
  /** When it was made, by ISO 8601. */
  made: string;
  /** The version of the page that made it. */
  page: string;
  items: ArchivedItem[];
  models: ArchivedModel[];
}

/** Where the files of items lie. Nothing is ever written to a path of an archive; another one is still a sign of harm. */
const PATH = /^items\/[1-9]\d{0,5}\/[a-z0-9][\w.-]{0,63}$/;
const SHA256 = /^[0-9a-f]{64}$/;
const MOST = { items: 20_000, models: 1000, files: 40_000, text: 2000 };

export function manifestOf(items: ArchivedItem[], models: ArchivedModel[], page: string): Uint8Array<ArrayBuffer> {
  const version = Math.max(1, ...items.map(({ kind }) => KINDS[kind]));
  const manifest: Manifest = { format: FORMAT, version, made: new Date().toISOString(), page, items, models };
  return new TextEncoder().encode(`${JSON.stringify(manifest, null, 1)}\n`);
}

/** Reads a manifest of which nothing is believed. What it has beside the known fields is left out. */
export function readManifest(bytes: Uint8Array): Manifest {
  const { format, version, made, page, items, models } = objectIn(jsonIn(bytes));
  if (format !== FORMAT) throw new ArchiveProblem("not-an-archive", "That is a zip file, but no library that this page has made.");
  if (typeof version !== "number" || !Number.isInteger(version) || version < 1) throw damaged("its version is no number");
  if (version > VERSION) {
    throw new ArchiveProblem("later-version", "This file was made by a later version of this page. Reload the page, so that it is the latest too, and try again.");
  }
  const read = { format: FORMAT, version, made: textIn(made), page: textIn(page), items: listIn(items, MOST.items).map(itemIn), models: listIn(models, MOST.models).map(modelIn) } as const;
  const paths = read.items.flatMap(({ files }) => files.map(({ path }) => path));
  if (paths.length > MOST.files || new Set(paths).size < paths.length) throw damaged("its list of files is not one that this page writes");
  return read;
}

function itemIn(value: unknown): ArchivedItem {
  const { kind, id, name, date, mark, files } = objectIn(value);
  if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind)) throw damaged(`it has something of the unknown kind ${shown(String(kind))}`);
  if (date !== null && !Number.isSafeInteger(date)) throw damaged("a date is no date");
  const sums = listIn(files, MOST.files).map(fileIn);
  if (sums.length === 0) throw damaged("something in it has no files");
  return { kind: kind as ArchivedKind, id: textIn(id), name: textIn(name), date: date as number | null, mark: textIn(mark), files: sums };
}

function fileIn(value: unknown): FileSum {
  const { path, bytes, sha256 } = objectIn(value);
  if (typeof path !== "string" || !PATH.test(path)) throw damaged(`${shown(String(path))} is no path that this page writes`);
  if (typeof sha256 !== "string" || !SHA256.test(sha256)) throw damaged("the sum of a file is none");
  return { path, bytes: sizeIn(bytes), sha256 };
}

function modelIn(value: unknown): ArchivedModel {
  const { name, revision, bytes } = objectIn(value);
  return { name: textIn(name), revision: textIn(revision), bytes: sizeIn(bytes) };
}

/** What JSON says, or a refusal. */
export function jsonIn(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw damaged("a part of it is no JSON");
  }
}

export function objectIn(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw damaged("a part of it is not what it should be");
  return value as Record<string, unknown>;
}

export function textIn(value: unknown): string {
  if (typeof value !== "string" || value.length > MOST.text) throw damaged("a text in it is none, or is far too long");
  return value;
}

function sizeIn(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw damaged("a size in it is none");
  return value as number;
}

function listIn(value: unknown, most: number): unknown[] {
  if (!Array.isArray(value) || value.length > most) throw damaged("a list in it is none, or is far too long");
  return value;
}

export function damaged(why: string): ArchiveProblem {
  return new ArchiveProblem("damaged", `The file is damaged, or was not made by this page: ${why}.`);
}
