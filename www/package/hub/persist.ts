import type { Folder } from "../files.js";
import type { ProgressCallback, ProgressEvent } from "../types.js";
import { openStore } from "./store.js";

/** Downloads from this size on are worth asking for. */
const LARGE_BYTES = 16 << 20;

let asked = false;

/**
 * Asks the browser, once, to keep this site's storage when space runs low, as soon as an event tells of a
 * large download. Only pages may ask, so the page has to do it for its worker, where the method is missing. A refusal is no error: the
 * model is then downloaded again some day.
 */
export function keepLargeDownloads({ status, total = 0 }: ProgressEvent): void {
  if (asked || status !== "progress" || total < LARGE_BYTES) return;
  asked = true;
  navigator.storage?.persist?.().catch(() => {});
}

let held: Promise<Cache | undefined> | undefined;

/**
 * Has the page itself open the cache in which its workers keep a model that is downloaded. Where WebKit keeps nothing on disk, as in
 * private windows, it empties a cache that nobody has open, and workers come and go.
 */
export function holdStore(folder: Folder): void {
  if ("cache" in folder && folder.cache) held ??= openStore();
}

/** Tells the caller, and has the browser keep what took long to download: only a page can ask for that. */
export function reporter(callback: ProgressCallback | undefined): ProgressCallback {
  return (event) => {
    keepLargeDownloads(event);
    callback?.(event);
  };
}
