import { failure } from "../errors.js";
import { folderOf, openFolder, type HubOptions } from "../files.js";
import { fetchBounded, type Asking } from "./bounded.js";
import { sha256 } from "./card.js";
import type { GalleryEntry } from "./gallery.js";
import { checkAdapter, type AdapterBase, type CheckedAdapter } from "./inspect.js";
import { badAdapter, CARD_FILE, checkFile, complete, mostBytes, type ExchangedFiles, type ExchangeLimits } from "./limits.js";
import { checkedAddress } from "./link.js";
import { readAdapter } from "./share.js";

/** How an adapter is fetched. */
export interface FetchOptions extends Asking, Pick<HubOptions, "hub" | "token" | "revision"> {
  limits?: ExchangeLimits;
  /** The model that it is to be for. */
  base?: AdapterBase;
}

/** The small ones first: where they are missing or bad, nothing else is downloaded. */
const NAMES = ["adapter_config.json", CARD_FILE, "adapter_model.safetensors"] as const;

/**
 * An adapter from a hub (an id "owner/name" or the address of its page), from an address of a zip file or of a folder, or from a gallery.
 * It is checked by {@link checkAdapter}, and no more is downloaded than `limits` say. Nothing is kept: {@link Shelf.put} keeps.
 * Throws what {@link checkAdapter} throws, `bad-option` for an address that is neither https nor this machine, `io` and `cancelled`.
 */
export async function fetchAdapter(source: string | URL | GalleryEntry, options: FetchOptions = {}): Promise<CheckedAdapter> {
  const { limits = {}, base } = options;
  const files = await (isEntry(source) ? fromGallery(source, options) : fromAddress(String(source), limits, options));
  return checkAdapter(files, base, limits);
}

function isEntry(source: string | URL | GalleryEntry): source is GalleryEntry {
  return typeof source === "object" && "card_sha256" in source;
}

/** An entry's adapter, which is what the gallery said it is. */
async function fromGallery(entry: GalleryEntry, options: FetchOptions): Promise<ExchangedFiles> {
  const files = await fromAddress(entry.address, { ...options.limits, bytes: Math.min(entry.bytes, options.limits?.bytes ?? Infinity) }, options);
  const card = files[CARD_FILE];
  if (!card || (await sha256(card)) !== entry.card_sha256) {
    throw badAdapter(`${CARD_FILE} of ${entry.name} is not the one that the gallery shows; ask who hosts it`);
  }
  return files;
}

async function fromAddress(source: string, limits: ExchangeLimits, options: FetchOptions): Promise<ExchangedFiles> {
  const folder = folderOf(source, { ...options, cache: false });
  if (folder.gguf !== undefined) throw failure("bad-option", `${source} is a model and no adapter`);
  if (folder.kind === "hub") return fromHub(folder, limits, options);
  const address = checkedAddress(source);
  const { pathname } = new URL(address);
  if (/\.zip$/i.test(pathname)) return fromZip(address, limits, options);
  const files: Partial<ExchangedFiles> = {};
  const most = mostBytes(limits);
  for (const name of NAMES) {
    const url = new URL(address);
    if (!pathname.endsWith("/")) url.pathname += "/";
    const blob = await fetchBounded(new URL(name, url).href, most[name], options);
    if (!blob && name !== CARD_FILE) throw badAdapter(`${name} is missing in ${address}`);
    if (blob) files[name] = new Uint8Array(await blob.arrayBuffer());
  }
  return complete(files);
}

async function fromZip(address: string, limits: ExchangeLimits, options: FetchOptions): Promise<ExchangedFiles> {
  const most = Object.values(mostBytes(limits)).reduce((sum, bytes) => sum + bytes, 2 ** 16);
  const zip = await fetchBounded(address, most, options);
  if (!zip) throw badAdapter(`there is no file at ${address}`);
  return readAdapter(zip, limits);
}

/** The hub's list says how large files are, before anything is downloaded. */
async function fromHub(folder: ReturnType<typeof folderOf>, limits: ExchangeLimits, { signal, on_progress }: FetchOptions): Promise<ExchangedFiles> {
  const reader = openFolder(folder, { ...(signal && { signal }), ...(on_progress && { report: on_progress }) });
  const sizes = await Promise.all(NAMES.map((name) => reader.size(name)));
  for (const [index, size] of sizes.entries()) if (size !== undefined) checkFile(NAMES[index]!, size, limits);
  const missing = NAMES.find((name, index) => name !== CARD_FILE && sizes[index] === undefined);
  if (missing !== undefined) throw badAdapter(`${missing} is missing in ${reader.place}: that is no adapter of PEFT's`);
  const files: Partial<ExchangedFiles> = {};
  for (const [index, size] of sizes.entries()) {
    // A copy, because what a reader gives may be a view of more.
    if (size !== undefined) files[NAMES[index]!] = new Uint8Array(await reader.read(NAMES[index]!, 0, size));
  }
  return complete(files);
}
