import type { ProgressCallback } from "../types.js";
import type { RemoteFolder } from "./folder.js";

/** Sizes and waits, which tests make small. */
export interface Tuning {
  /** Bytes of a part of a file in the cache; no more than one part is on the heap. */
  part_bytes: number;
  /** The wait before the second try; each later one is twice as long. */
  first_wait_ms: number;
}

export const TUNING: Tuning = { part_bytes: 16 << 20, first_wait_ms: 500 };

/** How a folder is opened. */
export interface OpenOptions {
  report?: ProgressCallback;
  signal?: AbortSignal;
  /** Only a few bytes of large files will be read, so they are not downloaded for it. */
  peek?: boolean;
}

/** What everything that is done for one opened folder shares. */
export interface Job extends Tuning {
  folder: RemoteFolder;
  /** The folder's address, under which its files lie in the cache. */
  address: string;
  /** What progress events call the folder. */
  name: string;
  /** Undefined where nothing is kept. */
  cache: Cache | undefined;
  report: ProgressCallback;
  signal: AbortSignal | undefined;
  peek: boolean;
}
