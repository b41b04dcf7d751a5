import { failure } from "../errors.js";
import { fetchBounded, type Asking } from "./bounded.js";
import { sha256, type AdapterCard, type CardDetails } from "./card.js";
import type { CheckedAdapter } from "./inspect.js";
import { Fields, parseJson, wrong, type Place } from "./json.js";
import { CARD_FILE } from "./limits.js";
import { checkedAddress } from "./link.js";

/** What a gallery shows of a card before the adapter is downloaded. */
export type CardSummary = Pick<CardDetails, "title" | "method" | "rows" | "steps" | "loss_before" | "loss_after" | "license" | "author" | "words"> & {
  base_model?: string;
  date?: string;
  /** The signer's name and the key's fingerprint, as the gallery says; {@link verify} says whether it is so. */
  signer?: string;
  fingerprint?: string;
};

/** An adapter in a gallery. */
export interface GalleryEntry {
  /** Of its folder or zip file, which no other entry has. */
  name: string;
  /** Where its zip file or its folder lies. */
  address: string;
  /** Of its files, or of the zip file; no more is downloaded. */
  bytes: number;
  card_sha256: string;
  card: CardSummary;
}

/** A folder of adapters that anyone can host. Its entries are what whoever hosts it says of them. */
export interface Gallery {
  /** What it calls itself. */
  name: string | null;
  /** The address of its index. */
  address: string;
  entries: GalleryEntry[];
  /** The entries that have every word of a text, in upper or lower case, with or without accents. */
  search(text: string): GalleryEntry[];
}

/** The name of the index in a gallery's folder. */
export const INDEX_FILE = "index.json";

const MOST_BYTES = 8 << 20;
const MOST_ENTRIES = 5000;
const JSON_LIMITS = { bytes: MOST_BYTES, depth: 5, values: 25 * MOST_ENTRIES };
/** A path that stays in the gallery's folder, whatever an address makes of it. */
const RELATIVE = /^(?!.*\.\.)(?:[\w-][\w.-]*\/)*[\w-][\w.-]*(?:\/|\.zip)$/;

/**
 * Opens the gallery in a folder, at the folder's address or that of its index. Throws `bad-data`, naming the entry, for an index that is not
 * what {@link galleryIndex} writes, `bad-option` for an address that is neither https nor this machine, and `io`.
 */
export async function openGallery(address: string | URL, asking: Asking = {}): Promise<Gallery> {
  const url = new URL(checkedAddress(String(address)));
  if (!/\.json$/i.test(url.pathname)) {
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    url.pathname += INDEX_FILE;
  }
  const index = await fetchBounded(url.href, MOST_BYTES, asking);
  if (!index) throw failure("io", `there is no gallery: ${url.href} is missing`);
  return readGallery(new Uint8Array(await index.arrayBuffer()), url.href);
}

/** The gallery whose index, at an address, has these bytes. Throws `bad-data`, naming the entry. */
export function readGallery(bytes: Uint8Array, address: string): Gallery {
  const place: Place = { name: INDEX_FILE, code: "bad-data" };
  const fields = new Fields(place, parseJson(place, bytes, JSON_LIMITS));
  const version = fields.needed("version", fields.whole("version", 1, 2 ** 31));
  if (version !== 1) throw wrong(place, `it has version ${version}, but only 1 is read here: use a newer tabtune`);
  const list = fields.needed("entries", fields.list("entries", MOST_ENTRIES));
  const entries = list.map((value, index) => entryOf({ ...place, name: `${INDEX_FILE}: entry ${index}` }, value, address));
  const names = new Set(entries.map(({ name }) => name));
  if (names.size < entries.length) throw wrong(place, "two entries have one name");
  const texts = entries.map((entry) => folded([entry.name, ...Object.values(entry.card)].join("\n")));
  return {
    name: fields.line("name", 120) ?? null,
    address,
    entries,
    search(text) {
      const words = folded(text).split(/\s+/).filter((word) => word !== "");
      return entries.filter((_, index) => words.every((word) => texts[index]!.includes(word)));
    },
  };
}

function entryOf(place: Place, value: unknown, index: string): GalleryEntry {
  const fields = new Fields(place, value);
  const path = fields.needed("path", fields.matching("path", RELATIVE, `a path within the gallery that ends with "/" or ".zip"`));
  const card = fields.needed("card", fields.fields("card"));
  return {
    name: fields.needed("name", fields.line("name", 120)),
    address: new URL(path, index).href,
    bytes: fields.needed("bytes", fields.whole("bytes", 1, 2 ** 32)),
    card_sha256: fields.needed("card_sha256", fields.matching("card_sha256", /^[0-9a-f]{64}$/, "a sha256")),
    card: summaryOf(card),
  };
}

function summaryOf(card: Fields): CardSummary {
  const summary = {
    title: card.line("title", 120),
    base_model: card.line("base_model", 500),
    method: card.line("method", 40),
    rows: card.whole("rows", 0, 2 ** 40),
    steps: card.whole("steps", 0, 2 ** 40),
    loss_before: card.number("loss_before"),
    loss_after: card.number("loss_after"),
    license: card.line("license", 120),
    author: card.line("author", 120),
    words: card.lines("words", 500),
    date: card.line("date", 40),
    signer: card.line("signer", 80),
    fingerprint: card.line("fingerprint", 40),
  };
  return Object.fromEntries(Object.entries(summary).filter(([, value]) => value !== undefined)) as CardSummary;
}

/** Lower case without accents. */
function folded(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** An adapter that a gallery is to have. */
export interface Exhibit {
  /** Of the folder or, without its ending, of the zip file. */
  name: string;
  /** Within the gallery's folder, e.g. "recipes/" or "recipes.zip". */
  path: string;
  /** Of what is downloaded: all files, or the zip file. */
  bytes: number;
  adapter: CheckedAdapter;
}

/** The index of a gallery, for `index.json` in its folder. Throws `bad-option`, naming it, for an adapter without a card. */
export async function galleryIndex(exhibits: Exhibit[], name?: string): Promise<string> {
  const entries = await Promise.all(exhibits.map(async ({ name, path, bytes, adapter: { files, verified } }) => {
    const card = files[CARD_FILE];
    if (!card || !verified.card) throw failure("bad-option", `${name} has no ${CARD_FILE}, which a gallery shows`);
    return { name, path, bytes, card_sha256: await sha256(card), card: summarised(verified.card, verified.fingerprint) };
  }));
  const index = { version: 1, ...(name !== undefined && { name }), entries };
  const text = `${JSON.stringify(index, undefined, 2)}\n`;
  // What is written can be read.
  readGallery(new TextEncoder().encode(text), "https://gallery.invalid/index.json");
  return text;
}

function summarised(card: AdapterCard, fingerprint: string | null): CardSummary {
  const { version: _version, files: _files, signature: _signature, signer, base_model, words, ...rest } = card;
  return {
    ...rest,
    ...(base_model?.name_or_path !== undefined && { base_model: base_model.name_or_path }),
    ...(words !== undefined && { words: words.slice(0, 500).replace(/[\ud800-\udbff]$/, "") }),
    ...(signer && { signer: signer.name }),
    ...(fingerprint !== null && { fingerprint }),
  };
}
