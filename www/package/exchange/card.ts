import { failure } from "../errors.js";
import type { AdapterFiles } from "../types.js";
import { readConfig } from "./config.js";
import { canonical, Fields, parseJson, type Place } from "./json.js";
import { CARD_FILE, mostBytes, PEFT_FILES, type ExchangedFiles } from "./limits.js";

/** What is told of an adapter. Texts are plain: they are shown as they are and never as HTML. */
export interface CardDetails {
  /** What people call it, up to 120 characters. */
  title?: string;
  /** The model that it was trained on. */
  base_model?: {
    /** A hub id, an address or a folder. */
    name_or_path?: string;
    /** The commit of the hub's repository. */
    revision?: string;
    /** Of the model's config and weights. */
    fingerprint?: string;
  };
  /** What rows were learnt by: "sft", "dpo", or "federated". */
  method?: string;
  /** Rows that were trained on. */
  rows?: number;
  /** Optimiser steps. */
  steps?: number;
  /** Loss on held-out rows before the first step. */
  loss_before?: number;
  /** The same after the last step. */
  loss_after?: number;
  /** Under which others may use it, e.g. "apache-2.0". */
  license?: string;
  /** Who made it, in their own words; only a signature says more. Up to 120 characters. */
  author?: string;
  /** What the author says of it, up to 4,000 characters. */
  words?: string;
  /** When it was made, by ISO 8601. */
  date?: string;
}

/** What lies beside an adapter in `tabtune_card.json`. */
export interface AdapterCard extends CardDetails {
  version: 1;
  date: string;
  /** The sha256 of each other file, hexadecimal. */
  files: Record<keyof AdapterFiles, string>;
  /** Who signed it, as they call themselves, with their public Ed25519 key, hexadecimal. */
  signer?: { name: string; public_key: string };
  /** By that key over all of the above, hexadecimal. */
  signature?: string;
}

const PLACE: Place = { name: CARD_FILE, code: "bad-adapter" };
const JSON_LIMITS = { bytes: mostBytes({})[CARD_FILE], depth: 8, values: 1000 };
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/;
const MOST_COUNT = 2 ** 40;

/**
 * The card of an adapter's files. The model's name is taken from their config where it is not told, and the date is today's. Throws
 * `bad-option`, naming it, for a detail that is too long or of the wrong type, and `bad-adapter` for files that are no adapter's.
 */
export async function cardFor(files: AdapterFiles, told: CardDetails = {}): Promise<AdapterCard> {
  const config = readConfig(files["adapter_config.json"]);
  const details = detailsOf(new Fields({ name: "the card", code: "bad-option" }, told));
  const name_or_path = details.base_model?.name_or_path ?? config.base_model_name_or_path ?? undefined;
  const base_model = { ...(name_or_path !== undefined && { name_or_path }), ...details.base_model };
  const date = details.date ?? `${new Date().toISOString().slice(0, 19)}Z`;
  const sums = await Promise.all(PEFT_FILES.map(async (name) => [name, await sha256(files[name])]));
  return { version: 1, ...details, ...(Object.keys(base_model).length > 0 && { base_model }), date, files: Object.fromEntries(sums) };
}

/** The files with a card beside them that nobody signed. */
export function withCard(files: AdapterFiles, card: AdapterCard): ExchangedFiles {
  const { signer: _signer, signature: _signature, ...unsigned } = card;
  return { ...onlyPeft(files), [CARD_FILE]: cardBytes(unsigned) };
}

/** The card that lies in `tabtune_card.json`. Fields that are not known are left in the file alone. Throws `bad-adapter`. */
export function readCard(bytes: Uint8Array): AdapterCard {
  return openCard(bytes).card;
}

/** A card, and all fields of its file. */
export function openCard(bytes: Uint8Array): { card: AdapterCard; written: Record<string, unknown> } {
  const written = parseJson(PLACE, bytes, JSON_LIMITS);
  const fields = new Fields(PLACE, written);
  const version = fields.needed("version", fields.whole("version", 1, 2 ** 31));
  if (version !== 1) throw failure("bad-adapter", `${CARD_FILE} has version ${version}, but only 1 is read here: use a newer tabtune`);
  const details = detailsOf(fields);
  const files = fields.needed("files", fields.fields("files"));
  const stranger = files.names.find((name) => !(PEFT_FILES as readonly string[]).includes(name));
  if (stranger !== undefined) throw failure("bad-adapter", `${CARD_FILE}: files has ${JSON.stringify(stranger.slice(0, 80))}, which no adapter has`);
  const sums = PEFT_FILES.map((name) => [name, files.needed(name, files.matching(name, HEX[32], "a sha256"))]);
  const by = fields.fields("signer");
  const signature = fields.matching("signature", HEX[64], "an Ed25519 signature");
  if ((by === undefined) !== (signature === undefined)) {
    const [there, missing] = by ? ["signer", "signature"] : ["signature", "signer"];
    throw failure("bad-adapter", `${CARD_FILE}: there is a ${there} but no ${missing}`);
  }
  const signer = by && {
    name: by.needed("name", by.line("name", 80)),
    public_key: by.needed("public_key", by.matching("public_key", HEX[32], "an Ed25519 key")),
  };
  const card: AdapterCard = {
    version: 1,
    ...details,
    date: fields.needed("date", details.date),
    files: Object.fromEntries(sums) as AdapterCard["files"],
    ...(signer && signature !== undefined && { signer, signature }),
  };
  return { card, written: written as Record<string, unknown> };
}

const HEX = { 32: /^[0-9a-f]{64}$/, 64: /^[0-9a-f]{128}$/ };

/** The details that there are; undefined ones are left out. */
function detailsOf(fields: Fields): CardDetails {
  const base = fields.fields("base_model");
  const base_model = base && present({
    name_or_path: base.line("name_or_path", 500),
    revision: base.line("revision", 120),
    fingerprint: base.matching("fingerprint", /^[0-9a-f]{16,128}$/, "a fingerprint"),
  });
  return present({
    title: fields.line("title", 120),
    base_model,
    method: fields.matching("method", /^[\w.-]{1,40}$/, "the name of a method"),
    rows: fields.whole("rows", 0, MOST_COUNT),
    steps: fields.whole("steps", 0, MOST_COUNT),
    loss_before: fields.number("loss_before"),
    loss_after: fields.number("loss_after"),
    license: fields.line("license", 120),
    author: fields.line("author", 120),
    words: fields.lines("words", 4000),
    date: fields.matching("date", DATE, "a date and time by ISO 8601"),
  });
}

type Present<T> = { [Name in keyof T]?: Exclude<T[Name], undefined> };

function present<T extends object>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}

/** PEFT's files alone. */
export function onlyPeft(files: AdapterFiles): AdapterFiles {
  return Object.fromEntries(PEFT_FILES.map((name) => [name, files[name]])) as AdapterFiles;
}

/** A card's file: the value's one form. */
export function cardBytes(card: object): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(canonical(card));
}

/** Hexadecimal. Throws `unsupported` on pages that browsers give no cryptography. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return hexOf(new Uint8Array(await subtle().digest("SHA-256", bytes)));
}

/** WebCrypto, which browsers have on safe pages alone. */
export function subtle(): SubtleCrypto {
  if (globalThis.crypto?.subtle) return crypto.subtle;
  throw failure("unsupported", "cards and signatures need a secure page: open it over https, or at http://localhost");
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
