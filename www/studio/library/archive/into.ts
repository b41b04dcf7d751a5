import { Dataset, type AdapterFiles, type ImportOptions } from "tabtune";
import { CARD_FILE, type ExchangedFiles } from "tabtune/exchange";
import { remembered } from "../../ui/remembered.js";
import type { LearntStore } from "../learnt.js";
import type { Chats, Logs } from "../others.js";
import type { Archive } from "./archive.js";
import { damaged, objectIn } from "./manifest.js";
import { ADAPTER_FILES, FILES } from "./out.js";
import type { Planned } from "./plan.js";
import { shown } from "./problem.js";
import { learntIn, logIn, optionsIn, recordIn, settingsIn } from "./records.js";
import { importable } from "./rows.js";
import { throwIfStopped } from "./stopping.js";

/** Where what an archive brings is put. */
export interface Stores {
  learnt: Pick<LearntStore, "put" | "keep" | "delete">;
  shelf: { put(name: string, files: ExchangedFiles): Promise<unknown> };
  chats: Pick<Chats, "put" | "read" | "nameOf">;
  logs: Pick<Logs, "write" | "delete">;
  settings: { get(name: string): unknown; set(name: string, value: unknown): boolean };
}

interface Bringing {
  archive: Archive;
  stores: Stores;
  signal: AbortSignal;
  /** What rows are called here, by what they were called where they come from. */
  renamed: ReadonlyMap<string, string>;
}

/** How bringing is followed and ended. */
export interface Following {
  signal: AbortSignal;
  /** Hears how far it has come, in percent. */
  report(percent: number): void;
}

/** Something that could not be brought, and why. */
export interface NotBrought {
  name: string;
  thrown: unknown;
}

/**
 * Brings what was chosen of an archive, thing by thing: each is here whole, or not at all. Rows come first, as runs name them. Resolves to
 * what could not be brought, beside which all else is here. Stopping it leaves what was brought before.
 */
export async function bring(archive: Archive, plan: readonly Planned[], chosen: readonly Planned[], stores: Stores, { signal, report }: Following): Promise<NotBrought[]> {
  // Whatever becomes of them, runs are to name the rows as they are called here.
  const renamed = new Map(plan.flatMap(({ item, id, is_here }) => (item.kind === "dataset" && (is_here || chosen.some((one) => one.item === item)) ? [[item.id, id] as const] : [])));
  const total = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const inOrder = [...chosen].sort((one, other) => Number(other.item.kind === "dataset") - Number(one.item.kind === "dataset"));
  const failed: NotBrought[] = [];
  for (const planned of inOrder) {
    throwIfStopped(signal);
    try {
      await BRINGERS[planned.item.kind](planned, { archive, stores, signal, renamed });
    } catch (thrown) {
      throwIfStopped(signal);
      failed.push({ name: planned.item.name, thrown });
    }
    report((100 * (done += planned.bytes)) / Math.max(1, total));
  }
  return failed;
}

const BRINGERS = { run: bringLearnt, adapter: bringShelved, dataset: bringRows, chat: bringChat, settings: bringSettings };

async function bringLearnt({ item, id, name }: Planned, { archive, stores, renamed }: Bringing): Promise<void> {
  const told = learntIn(await archive.needed(item, FILES.record));
  const files = await adapterIn(archive, item);
  const log = await archive.read(item, FILES.log);
  const logged = log && logIn(log);
  const rows = told.rows && { ...told.rows, dataset: renamed.get(told.rows.dataset) ?? told.rows.dataset, heldout: told.rows.heldout === null ? null : (renamed.get(told.rows.heldout) ?? told.rows.heldout) };
  const learnt = { ...told, id, name, rows };
  try {
    // Should the page close now, it is taken for a run that came to nothing, and cleared away.
    await stores.learnt.put(learnt);
    if (logged) await stores.logs.write(id, logged);
    await stores.learnt.keep(learnt, files);
  } catch (thrown) {
    await stores.learnt.delete(id).catch(() => undefined);
    if (logged) await stores.logs.delete(id).then(undefined, () => undefined);
    throw thrown;
  }
}

async function bringShelved({ item, name }: Planned, { archive, stores }: Bringing): Promise<void> {
  const card = await archive.read(item, CARD_FILE);
  await stores.shelf.put(name, { ...(await adapterIn(archive, item)), ...(card && { [CARD_FILE]: card }) });
}

async function bringRows({ item, name }: Planned, { archive, signal }: Bringing): Promise<void> {
  const kept = optionsIn(await archive.needed(item, FILES.options));
  const dataset = await Dataset.open(name);
  // The rows are read as what they are. What becomes of those that a model refuses is still as their person said.
  const options: ImportOptions = kept.on_bad_row === "skip" ? { on_bad_row: "skip" } : {};
  try {
    await dataset.import(rowsOf(archive, item), { ...options, signal });
    const { fingerprint } = await dataset.info();
    if (fingerprint !== item.mark) throw damaged(`the rows ${shown(item.name)} are not those that were packed`);
    remembered.set(name, kept);
  } catch (thrown) {
    await dataset.discard_pending().catch(() => undefined);
    await dataset.delete().catch(() => undefined);
    throw thrown;
  }
}

async function* rowsOf(archive: Archive, item: Planned["item"]): AsyncGenerator<object, void, undefined> {
  const count = archive.namesOf(item).filter((name) => /^rows-\d+\.jsonl$/.test(name)).length;
  for (let number = 1; number <= count; number++) {
    const text = new TextDecoder().decode(await archive.needed(item, `rows-${number}.jsonl`));
    for (const line of text.split("\n")) if (line) yield importable(rowIn(line, item.name));
  }
}

function rowIn(line: string, name: string): object {
  try {
    return objectIn(JSON.parse(line));
  } catch {
    throw damaged(`a row of ${shown(name)} is no JSON`);
  }
}

async function bringChat({ item, id }: Planned, { archive, stores: { chats } }: Bringing): Promise<void> {
  const chat = chats.read(recordIn(await archive.needed(item, FILES.chat)));
  if (!chat) throw damaged(`the chat ${shown(item.name)} is none`);
  await chats.put(id === chat.id ? chat : { ...chat, id, title: `${chats.nameOf(chat)} (2)` });
}

/** What was set here stays. */
async function bringSettings({ item }: Planned, { archive, stores: { settings } }: Bringing): Promise<void> {
  for (const [name, value] of settingsIn(await archive.needed(item, FILES.settings))) {
    if (settings.get(name) === undefined) settings.set(name, value);
  }
}

async function adapterIn(archive: Archive, item: Planned["item"]): Promise<AdapterFiles> {
  const [config, weights] = ADAPTER_FILES;
  return { [config]: await archive.needed(item, config), [weights]: await archive.needed(item, weights) };
}
