import { failure, TabtuneError } from "../errors.js";
import { isQuota } from "../hub/store.js";
import type { AdapterCard } from "./card.js";
import { checkAdapter, type AdapterInspection } from "./inspect.js";
import { Fields } from "./json.js";
import { complete, isExchanged, type ExchangedFiles, type ExchangedName } from "./limits.js";
import { verify } from "./signature.js";

/** An adapter on the shelf. */
export interface ShelvedAdapter {
  name: string;
  /** Of all of its files. */
  bytes: number;
  /** When it was put there, by ISO 8601. */
  kept: string;
  card: AdapterCard | null;
  signed_by: { name: string; fingerprint: string } | null;
  inspection: AdapterInspection;
}

/** As it lies in the cache. Its files lie beside it, so that other files, or another name, are one change of this alone. */
interface Kept extends ShelvedAdapter {
  version: 1;
  /** Of this record. */
  id: string;
  /** Of its files. */
  files_id: string;
  files: ExchangedName[];
}

const CACHE = "tabtune-shelf";
/** Keys of a cache must be addresses; nothing is ever fetched from here. */
const ROOT = "https://tabtune.invalid/";

/**
 * Adapters that the browser keeps by name, until a person deletes them or clears the site's data. They lie in Cache storage, as downloaded
 * models do: unlike OPFS every browser can write it from a page. Tabs take turns in changing it.
 */
export class Shelf {
  readonly #cache: Cache;

  /** @internal {@link openShelf} */
  constructor(cache: Cache) {
    this.#cache = cache;
  }

  /** All adapters, by their names. */
  async list(): Promise<ShelvedAdapter[]> {
    const all = (await this.#kept()).map(({ version: _version, id: _id, files_id: _of_files, files: _files, ...shelved }) => shelved);
    return all.sort((one, other) => one.name.localeCompare(other.name));
  }

  /**
   * Keeps an adapter that passes {@link checkAdapter}. Throws what that throws, `bad-option` for a name that is taken, unless `overwrite` is
   * true, and `quota-exceeded` where there is no room; the shelf is as it was then.
   */
  async put(name: string, files: ExchangedFiles, { overwrite = false } = {}): Promise<ShelvedAdapter> {
    checkName(name);
    const { inspection, verified } = await checkAdapter(files);
    // What a person trained or chose should not go when the disk fills up. A refusal changes nothing.
    navigator.storage?.persist?.().catch(() => false);
    return this.#alone(async () => {
      const before = (await this.#kept()).find((other) => other.name === name);
      if (before && !overwrite) throw taken(name);
      await this.#sweep();
      const { by, fingerprint, card } = verified;
      const signed_by = fingerprint === null ? null : { name: by ?? "", fingerprint };
      const bytes = Object.values(files).reduce((sum, { length }) => sum + length, 0);
      const names = Object.keys(files).filter(isExchanged);
      const shelved = { name, bytes, kept: new Date().toISOString(), card, signed_by, inspection };
      const files_id = crypto.randomUUID();
      const kept: Kept = { ...shelved, version: 1, id: before?.id ?? crypto.randomUUID(), files_id, files: names };
      try {
        for (const name of names) await this.#cache.put(fileKey(kept, name), new Response(files[name]!));
        // With this it is there.
        await this.#write(kept);
      } catch (thrown) {
        await this.#removeFiles(kept);
        const message = `no room for ${JSON.stringify(name)}, which has ${bytes} bytes: delete other adapters or downloaded models`;
        throw isQuota(thrown) ? failure("quota-exceeded", message) : thrown;
      }
      if (before) await this.#removeFiles(before);
      return shelved;
    });
  }

  /** An adapter's files, for `trainer.adapters.load`. Throws `bad-option` where there is none of the name, `bad-adapter` where it was damaged. */
  async open(name: string): Promise<ExchangedFiles> {
    const kept = await this.#find(name);
    const files: Partial<ExchangedFiles> = {};
    for (const name of kept.files) {
      const response = await this.#cache.match(fileKey(kept, name));
      if (response) files[name] = new Uint8Array(await response.arrayBuffer());
    }
    await verify(complete(files));
    return files as ExchangedFiles;
  }

  /** Gives an adapter another name. Throws `bad-option` where there is none of the name, or the other is taken. */
  async rename(name: string, to: string): Promise<void> {
    checkName(to);
    await this.#alone(async () => {
      const kept = await this.#find(name);
      if (name === to) return;
      if ((await this.#kept()).some((other) => other.name === to)) throw taken(to);
      await this.#write({ ...kept, name: to });
    });
  }

  /** Forgets an adapter. Throws `bad-option` where there is none of the name. */
  async delete(name: string): Promise<void> {
    await this.#alone(async () => {
      const kept = await this.#find(name);
      // Without the record it is gone; files that are left are swept away some time.
      await this.#cache.delete(recordKey(kept.id));
      await this.#removeFiles(kept);
    });
  }

  async #kept(): Promise<Kept[]> {
    const all: Kept[] = [];
    for (const { url } of await this.#cache.keys()) {
      if (!url.startsWith(`${ROOT}adapter?`)) continue;
      const kept = (await (await this.#cache.match(url))?.json()) as Kept | undefined;
      if (kept?.version === 1) all.push(kept);
    }
    return all;
  }

  async #find(name: string): Promise<Kept> {
    const kept = (await this.#kept()).find((other) => other.name === name);
    if (!kept) throw failure("bad-option", `there is no adapter ${JSON.stringify(String(name).slice(0, 80))} on the shelf`);
    return kept;
  }

  async #write(kept: Kept): Promise<void> {
    await this.#cache.put(recordKey(kept.id), new Response(JSON.stringify(kept)));
  }

  async #removeFiles(kept: Kept): Promise<void> {
    for (const name of kept.files) await this.#cache.delete(fileKey(kept, name));
  }

  /** Removes files that a tab left which was closed while it wrote them. */
  async #sweep(): Promise<void> {
    const known = new Set((await this.#kept()).map(({ files_id }) => files_id));
    for (const { url } of await this.#cache.keys()) {
      const { pathname, searchParams } = new URL(url);
      if (pathname === "/file" && !known.has(searchParams.get("id") ?? "")) await this.#cache.delete(url);
    }
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await (navigator.locks ? navigator.locks.request(CACHE, work) : work());
    } catch (thrown) {
      if (thrown instanceof TabtuneError) throw thrown;
      throw failure("io", `the shelf: ${String(thrown)}`);
    }
  }
}

/** Opens this browser's shelf. Throws `unsupported` where the page may keep nothing. */
export async function openShelf(): Promise<Shelf> {
  try {
    return new Shelf(await globalThis.caches.open(CACHE));
  } catch {
    // Browsers have no such storage for pages that are not safe, and deny it to those in a foreign frame.
    const message = "the browser keeps nothing for this page: open it over https, or at http://localhost, and not in a private window";
    throw failure("unsupported", message);
  }
}

function recordKey(id: string): string {
  return `${ROOT}adapter?${new URLSearchParams({ id })}`;
}

function fileKey({ files_id }: Kept, file: ExchangedName): string {
  return `${ROOT}file?${new URLSearchParams({ id: files_id, file })}`;
}

function checkName(name: unknown): asserts name is string {
  const fields = new Fields({ name: "the shelf", code: "bad-option" }, { name });
  const line = fields.needed("name", fields.line("name", 80));
  if (line.trim() !== line || line === "") throw failure("bad-option", "the shelf: name is empty, or has spaces around it");
}

function taken(name: string) {
  return failure("bad-option", `the shelf has an adapter ${JSON.stringify(name)} already: take another name, or put it with overwrite`);
}
