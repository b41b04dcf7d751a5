import { Dataset, type AdapterFiles, type DatasetInfo } from "tabtune";
import { CARD_FILE, type ExchangedFiles } from "tabtune/exchange";
import { rowsIn } from "../../data/stored-rows.js";
import { remembered } from "../../ui/remembered.js";
import { isLearnt, type Item, type MarkedAdapter } from "../items.js";
import type { Learnt, LearntStore } from "../learnt.js";
import { bytesOf, type KeptChat, type Logs } from "../others.js";
import type { PackedFile, ToPack } from "./pack.js";
import { linesOf } from "./rows.js";
import { sumOf } from "./sums.js";

/** Where what is packed is read from. */
export interface Sources {
  learnt: Pick<LearntStore, "files">;
  shelf: { open(name: string): Promise<ExchangedFiles> };
  logs: Pick<Logs, "read">;
}

/** Files of items, in the order in which they are written. The record is the first. */
export const FILES = { record: "record.json", log: "log.json", options: "options.json", chat: "chat.json", settings: "settings.json" };
export const ADAPTER_FILES = ["adapter_config.json", "adapter_model.safetensors"] as const;

/** An item as it is packed; undefined for what cannot be taken along, as models and runs that have nothing but their checkpoints. */
export async function toPack(item: Item, sources: Sources): Promise<ToPack | undefined> {
  if (item.kind === "dataset") return item.subject.rows > 0 ? rowsToPack(item.subject) : undefined;
  if (item.kind === "chat") return chatToPack(item.name, item.subject);
  if (item.kind === "model") return undefined;
  const { subject } = item;
  if (!isLearnt(subject)) return shelvedToPack(subject, sources);
  return subject.learnt.has_files ? learntToPack(subject.learnt, sources) : undefined;
}

/** Settings that are worth taking along; undefined where there are none. */
export function settingsToPack(settings: Record<string, unknown>): ToPack | undefined {
  if (Object.keys(settings).length === 0) return undefined;
  const files = async function* () {
    yield text(FILES.settings, settings);
  };
  return { kind: "settings", id: "settings", name: "Settings", date: null, mark: "", bytes: bytesOf(settings), files };
}

function learntToPack(learnt: Learnt, { learnt: store, logs }: Sources): ToPack {
  const { id, name, date, weights = "", bytes = 0 } = learnt;
  const files = async function* () {
    yield text(FILES.record, learnt);
    yield* adapterFiles(await store.files(id));
    const log = await logs.read(id);
    if (log) yield text(FILES.log, log);
  };
  return { kind: "run", id, name, date, mark: weights, bytes, files };
}

function shelvedToPack({ name, kept, mark = "", bytes }: MarkedAdapter, { shelf }: Sources): ToPack {
  const files = async function* () {
    const all = await shelf.open(name);
    yield* adapterFiles(all);
    // A signature is over these very bytes.
    if (all[CARD_FILE]) yield { name: CARD_FILE, content: all[CARD_FILE], is_text: true };
  };
  return { kind: "adapter", id: kept, name, date: Date.parse(kept), mark, bytes, files };
}

function rowsToPack({ name, bytes, fingerprint }: DatasetInfo): ToPack {
  const files = async function* () {
    yield text(FILES.options, remembered.get(name) ?? {});
    let number = 0;
    for await (const lines of linesOf(rowsIn(await Dataset.open(name)))) {
      yield { name: `rows-${++number}.jsonl`, content: new TextEncoder().encode(lines), is_text: true };
    }
  };
  return { kind: "dataset", id: name, name, date: null, mark: fingerprint, bytes, files };
}

async function chatToPack(name: string, chat: KeptChat): Promise<ToPack> {
  const files = async function* () {
    yield text(FILES.chat, chat);
  };
  return { kind: "chat", id: chat.id, name, date: chat.date, mark: await sumOf(chat), bytes: bytesOf(chat), files };
}

function* adapterFiles(files: AdapterFiles): Generator<PackedFile> {
  for (const name of ADAPTER_FILES) yield { name, content: files[name], is_text: name.endsWith(".json") };
}

function text(name: string, value: unknown): PackedFile {
  return { name, content: new TextEncoder().encode(JSON.stringify(value)), is_text: true };
}
