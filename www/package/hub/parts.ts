import { failure, type TabtuneError } from "../errors.js";
import type { OpenFile } from "./opened.js";
import { entries, isQuota, partKey, type FileId } from "./store.js";

/** Parts that stay open between reads; the engine reads mostly in order. */
const OPEN_PARTS = 4;

/**
 * A file in parts of equal length, of which the last may be shorter. Parts lie in the cache; without a
 * cache, or once it is full, they are Blobs that last as long as this object.
 */
export class Parts implements OpenFile {
  readonly size: number;
  readonly part_bytes: number;
  readonly count: number;
  readonly #cache: Cache | undefined;
  readonly #id: FileId;
  readonly #held = new Map<number, Blob>();
  readonly #open = new Map<number, Blob>();

  constructor(cache: Cache | undefined, id: FileId, size: number, part_bytes: number) {
    this.#cache = cache;
    this.#id = id;
    this.size = size;
    this.part_bytes = part_bytes;
    this.count = Math.ceil(size / part_bytes);
  }

  /** Whether all that was put is in the cache and stays there. */
  get kept(): boolean {
    return this.#cache !== undefined && this.#held.size === 0;
  }

  /** The length of one part. */
  length(index: number): number {
    return Math.min(this.part_bytes, this.size - index * this.part_bytes);
  }

  /** Which parts the cache has. */
  async stored(): Promise<Set<number>> {
    const stored = new Set<number>();
    if (!this.#cache) return stored;
    for (const { key, kind, fields } of await entries(this.#cache)) {
      const index = Number(fields["index"]);
      if (kind === "part" && key === this.#key(index)) stored.add(index);
    }
    return stored;
  }

  /** A part, if it is there in its full length. */
  async get(index: number): Promise<Blob | undefined> {
    const known = this.#held.get(index) ?? this.#open.get(index);
    if (known) return known;
    const blob = await (await this.#cache?.match(this.#key(index)))?.blob();
    if (blob?.size !== this.length(index)) return undefined;
    this.#open.set(index, blob);
    const [oldest] = this.#open.keys();
    if (oldest !== undefined && this.#open.size > OPEN_PARTS) this.#open.delete(oldest);
    return blob;
  }

  /** Keeps a part. */
  async put(index: number, blob: Blob): Promise<void> {
    if (this.#cache && this.#held.size === 0) {
      try {
        await this.#cache.put(this.#key(index), new Response(blob));
        return;
      } catch (thrown) {
        if (!isQuota(thrown)) throw failure("io", `${this.#id.file}: the browser's cache failed (${String(thrown)})`);
      }
    }
    try {
      // A Blob that the browser has no room for says so when it is read.
      await blob.slice(-1).arrayBuffer();
    } catch {
      throw await noRoom(this.#id.file, this.size - index * this.part_bytes);
    }
    this.#held.set(index, blob);
  }

  async read(start: number, len: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(len);
    for (let at = start; at < start + len; ) {
      const index = Math.floor(at / this.part_bytes);
      const part = await this.get(index);
      if (!part) throw failure("io", `${this.#id.file}: part ${index + 1} is no longer in the browser's cache`);
      const from = at - index * this.part_bytes;
      const piece = new Uint8Array(await part.slice(from, from + start + len - at).arrayBuffer());
      bytes.set(piece, at - start);
      at += piece.length;
    }
    return bytes;
  }

  #key(index: number): string {
    return partKey(this.#id, this.part_bytes, index);
  }
}

/** The error for content that the browser has no room for. */
export async function noRoom(name: string, needed: number): Promise<TabtuneError> {
  const free = await freeBytes();
  const reason = `${needed} more bytes are needed, but the browser has ${free ?? "an unknown number"} free for this site`;
  return failure("quota-exceeded", `${name}: ${reason}`);
}

/** Bytes that the browser has left for this site; undefined for pages that did not come over https, which cannot ask. */
export async function freeBytes(): Promise<number | undefined> {
  const { quota, usage = 0 } = (await navigator.storage?.estimate()) ?? {};
  return quota === undefined ? undefined : Math.max(0, quota - usage);
}
