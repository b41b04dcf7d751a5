import type { CachedModel, DatasetInfo } from "tabtune";
import type { ShelvedAdapter } from "tabtune/exchange";
import { notesOf, type LearntEntry } from "./entries.js";
import { filesOf, TYPED } from "../data/origins.js";
import { bytesOf, type KeptChat } from "./others.js";
import { count } from "../ui/format.js";
import { modelWords } from "../train/model-name.js";
import { baseOf } from "./shelf-words.js";

/** What the library keeps, in the order in which it is offered. */
export const ITEM_KINDS = ["run", "adapter", "dataset", "model", "chat"] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

/** What kinds are called where there are several of them, and what one of them is. */
export const KIND_WORDS: Record<ItemKind, { many: string; one: string }> = {
  run: { many: "Runs", one: "Run" },
  adapter: { many: "Adapters", one: "Adapter" },
  dataset: { many: "Data", one: "Data" },
  model: { many: "Models", one: "Model" },
  chat: { many: "Chats", one: "Chat" },
};

/** What something came from, or what came from it. */
export interface Origin {
  /** What the later one has to do with the earlier: "learnt from", "made for" … */
  how: string;
  name: string;
  /** The key of that in the library; undefined where it is not, or no longer, in it. */
  key: string | undefined;
}

/** A shelf's adapter, and what its weights are told apart by. */
export type MarkedAdapter = ShelvedAdapter & { mark: string | undefined };

/** Something that is kept, as the list shows it. */
interface ItemOf<Kind extends ItemKind, Subject> {
  kind: Kind;
  /** Tells it from all others; also the last part of its address. */
  key: string;
  name: string;
  bytes: number;
  /** Milliseconds since 1970; undefined where nobody noted it. */
  date: number | undefined;
  /** What is to be said of it beside that. */
  about: string;
  /** What is in force of it now, e.g. "open". */
  now: string;
  from: Origin[];
  /** What came from it. */
  to: Origin[];
  /** What stands for its content, if anything does; the same of another one makes them twins. */
  mark: string | undefined;
  /** Whether what was learnt or opened lies on the shelf as well. */
  is_shelved?: boolean;
  subject: Subject;
}

export type RunItem = ItemOf<"run", LearntEntry>;
/** An adapter of the shelf, or one that was opened from a file. */
export type AdapterItem = ItemOf<"adapter", MarkedAdapter | LearntEntry>;
export type DatasetItem = ItemOf<"dataset", DatasetInfo>;
export type ModelItem = ItemOf<"model", CachedModel[]>;
export type ChatItem = ItemOf<"chat", KeptChat>;
export type Item = RunItem | AdapterItem | DatasetItem | ModelItem | ChatItem;

/** What lies in the stores of this browser. */
export interface Found {
  learnt: readonly LearntEntry[];
  shelf: readonly MarkedAdapter[];
  datasets: readonly DatasetInfo[];
  models: readonly CachedModel[];
  /** Each with what people know it by. */
  chats: readonly { chat: KeptChat; name: string }[];
  /** What the logs of runs take, by the ids of the runs. */
  logs: ReadonlyMap<string, number>;
  /** The id of what was learnt or opened and is at hand, and the key of the shelf's adapter that answers. */
  open: string | undefined;
  answers: string | undefined;
  /** Names of the rows that come with the page, which are none of the person's. */
  bundled: readonly string[];
}

export function keyOf(kind: ItemKind, id: string): string {
  return `${kind}/${id}`;
}

/** Whether something was learnt or opened, and is not on the shelf. */
export function isLearnt(subject: AdapterItem["subject"] | RunItem["subject"]): subject is LearntEntry {
  return "learnt" in subject;
}

/** All that is kept, in one shape, each with what it came from and what came from it. */
export function itemsOf(found: Found): Item[] {
  const items: Item[] = [
    ...found.learnt.map((entry) => learntItem(entry, found)),
    ...found.shelf.map((adapter) => shelvedItem(adapter, found)),
    ...datasetsOf(found),
    ...modelsOf(found),
    ...found.chats.map(chatItem),
  ];
  return linked(items);
}

function learntItem(entry: LearntEntry, { shelf, logs, open, bundled }: Found): RunItem | AdapterItem {
  const { learnt, checkpoint_bytes } = entry;
  const { id, name, rows, model, date, weights } = learnt;
  const from: Origin[] = [];
  if (rows && bundled.includes(rows.dataset)) from.push({ how: "learnt from", name: "the example rows", key: undefined });
  else if (rows) from.push({ how: "learnt from", name: rows.dataset, key: keyOf("dataset", rows.dataset) });
  if (rows?.heldout && !bundled.includes(rows.heldout)) from.push({ how: "measured by", name: rows.heldout, key: keyOf("dataset", rows.heldout) });
  from.push({ how: rows ? "on" : "made for", name: modelWords(model), key: model.kind === "hub" ? keyOf("model", hubName(model.name)) : undefined });
  const notes = notesOf(entry);
  if (rows && rows.count !== null) notes.unshift(`${count(rows.count, "row")}`);
  const is_shelved = weights !== undefined && shelf.some(({ mark }) => mark === weights);
  if (!rows) notes.unshift("opened from a file", ...(is_shelved ? ["on the shelf as well"] : []));
  const item = {
    name,
    bytes: (learnt.has_files ? (learnt.bytes ?? 0) : 0) + checkpoint_bytes + (logs.get(id) ?? 0),
    date,
    about: notes.join(" · "),
    now: id === open ? "open" : "",
    from,
    to: [],
    mark: weights,
    is_shelved,
    subject: entry,
  };
  return rows ? { kind: "run", key: keyOf("run", id), ...item } : { kind: "adapter", key: keyOf("adapter", id), ...item };
}

function shelvedItem(adapter: MarkedAdapter, { answers }: Found): AdapterItem {
  const { name, bytes, kept, card, signed_by, mark } = adapter;
  const made_for = baseOf(adapter);
  const key = made_for?.kind === "hub" ? keyOf("model", hubName(made_for.name)) : undefined;
  const notes = ["on the shelf", signed_by ? `signed by ${signed_by.name || signed_by.fingerprint}` : "not signed"];
  if (card?.license !== undefined) notes.push(card.license);
  if (card?.method === "blend" && card.words) notes.push(card.words);
  return {
    kind: "adapter",
    key: keyOf("adapter", kept),
    name,
    bytes,
    date: Date.parse(kept),
    about: notes.join(" · "),
    now: kept === answers ? "answers now" : "",
    from: [{ how: "made for", name: made_for ? modelWords(made_for) : "a model that it does not name", key }],
    to: [],
    mark,
    subject: adapter,
  };
}

function datasetsOf({ datasets, bundled }: Found): DatasetItem[] {
  const own = datasets.filter(({ name, rows, pending_rows }) => !bundled.includes(name) && (rows > 0 || pending_rows !== null));
  return own.map((info) => {
    const { name, rows, bytes, files, pending_rows, fingerprint } = info;
    const notes = rows > 0 ? [count(rows, "row")] : [];
    if (pending_rows !== null) notes.push(`an import of it stopped after ${count(pending_rows, "row")}`);
    const others = filesOf(name, files);
    const from: Origin[] = [];
    if (files.includes(TYPED)) from.push({ how: "typed", name: "on this page", key: undefined });
    if (others.length > 0) from.push({ how: "read from", name: others.slice(0, 3).join(", ") + (others.length > 3 ? " …" : ""), key: undefined });
    return { kind: "dataset", key: keyOf("dataset", name), name, bytes, date: undefined, about: notes.join(" · "), now: "", from, to: [], mark: fingerprint || undefined, subject: info };
  });
}

/** Revisions of one model are deleted together, and so are one item. */
function modelsOf({ models }: Found): ModelItem[] {
  const by_name = new Map<string, CachedModel[]>();
  for (const model of models) by_name.set(model.name, [...(by_name.get(model.name) ?? []), model]);
  return [...by_name].map(([name, all]) => {
    const is_whole = all.some(({ complete }) => complete);
    const about = is_whole ? "downloaded" : "downloaded in part; the rest comes when it is used";
    const bytes = all.reduce((sum, model) => sum + model.bytes, 0);
    return { kind: "model", key: keyOf("model", name), name, bytes, date: undefined, about, now: "", from: [], to: [], mark: undefined, subject: all };
  });
}

function chatItem({ chat, name }: Found["chats"][number]): ChatItem {
  const { id, date, turns } = chat;
  return { kind: "chat", key: keyOf("chat", id), name, bytes: bytesOf(chat), date, about: count(turns.length, "turn"), now: "", from: [], to: [], mark: undefined, subject: chat };
}

/** Says of each what came from it, and finds the runs that an adapter of the shelf is of. What is gone is named, and leads nowhere. */
function linked(items: Item[]): Item[] {
  const runs = items.filter(({ kind }) => kind === "run");
  for (const item of items) {
    if (item.kind !== "adapter" || !item.mark) continue;
    const same = runs.filter(({ mark }) => mark === item.mark);
    item.from.unshift(...same.map(({ name, key }) => ({ how: "what was learnt by", name, key })));
  }
  const by_key = new Map(items.map((item) => [item.key, item]));
  for (const item of items) {
    for (const origin of item.from) {
      const other = origin.key === undefined ? undefined : by_key.get(origin.key);
      if (!other) origin.key = undefined;
      else other.to.push({ how: origin.how, name: item.name, key: item.key });
    }
  }
  return items;
}

/** A GGUF has its encoding or the name of its file behind the id, and lies under the id alone. */
function hubName(name: string): string {
  return name.split(":")[0]!;
}

export type Order = "date" | "name" | "size";

/** How the list is looked through. */
export interface View {
  kind: ItemKind | "all";
  search: string;
  order: Order;
}

/** What of it is to be shown, in order. Every word of the search has to be in it somewhere. */
export function shownOf(items: readonly Item[], { kind, search, order }: View): Item[] {
  const words = plain(search).split(/\s+/).filter(Boolean);
  const found = items.filter((item) => (kind === "all" || item.kind === kind) && words.every((word) => textOf(item).includes(word)));
  return found.sort((one, other) => ORDERS[order](one, other) || one.name.localeCompare(other.name) || one.key.localeCompare(other.key));
}

const ORDERS: Record<Order, (one: Item, other: Item) => number> = {
  // What nobody noted the date of comes last.
  date: (one, other) => (other.date ?? -Infinity) - (one.date ?? -Infinity) || 0,
  name: (one, other) => one.name.localeCompare(other.name, undefined, { numeric: true, sensitivity: "base" }),
  size: (one, other) => other.bytes - one.bytes,
};

/** All words of an item that are searched in. */
function textOf({ kind, name, about, from, to }: Item): string {
  return plain([KIND_WORDS[kind].one, name, about, ...[...from, ...to].map((origin) => origin.name)].join(" "));
}

/** Small letters without their marks: who looks for “uber” finds “Über”. */
function plain(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** How many there are of each kind, and what they take. */
export function sumsOf(items: readonly Item[]): Record<ItemKind, { count: number; bytes: number }> {
  const sums = Object.fromEntries(ITEM_KINDS.map((kind) => [kind, { count: 0, bytes: 0 }])) as Record<ItemKind, { count: number; bytes: number }>;
  for (const { kind, bytes } of items) {
    sums[kind].count += 1;
    sums[kind].bytes += bytes;
  }
  return sums;
}
