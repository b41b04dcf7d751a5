import { Trainer } from "tabtune";
import { canGoOn, type LearntEntry } from "../../entries.js";
import { rowsCalled } from "../../learnt.js";
import { damaged, type ArchivedItem } from "../manifest.js";
import type { PackedFile, ToPack } from "../pack.js";
import { shown } from "../problem.js";
import { learntIn, logIn } from "../records.js";
import { adapterFiles, adapterIn, text } from "./files.js";
import type { Bringing, Kind, Planned, Sources } from "./kind.js";

/** What a run learnt, or an adapter that was opened from a file. */
const FILES = { record: "record.json", log: "log.json" };
/** The saved steps of a run that can go on, as the package takes them out, in pieces that fit into memory. */
const stepsName = (piece: number) => `steps-${piece}`;
const PIECE_BYTES = 16 << 20;

/** A run that has nothing but its saved steps is a kind of its own, as a page that knows of none could do nothing with it. */
export async function learntToPack(entry: LearntEntry, { learnt: store, logs }: Sources): Promise<ToPack> {
  const { learnt, saved_step } = entry;
  const { id, name, date, has_files, weights = "", bytes = 0 } = learnt;
  const last = canGoOn(entry) ? (await Trainer.checkpoints(id)).at(-1) : undefined;
  const files = async function* () {
    yield text(FILES.record, learnt);
    if (has_files) yield* adapterFiles(await store.files(id));
    if (last) yield* stepsOf(id);
    const log = await logs.read(id);
    if (log) yield text(FILES.log, log);
  };
  const about = { id, name, date, bytes: (has_files ? bytes : 0) + (last?.bytes ?? 0), files };
  return has_files ? { kind: "run", mark: weights, ...about } : { kind: "steps", mark: String(saved_step), ...about };
}

async function* stepsOf(id: string): AsyncGenerator<PackedFile, void, undefined> {
  const run = await Trainer.export_run(id);
  for (let piece = 1, start = 0; start < run.size; piece++, start += PIECE_BYTES) {
    const content = new Uint8Array(await run.slice(start, start + PIECE_BYTES).arrayBuffer());
    yield { name: stepsName(piece), content, is_text: false };
  }
}

export const run: Kind = {
  sameAs: ({ mark, id }, here) => here.learnt.find((learnt) => mark !== "" && learnt.has_files && learnt.id === id && learnt.weights === mark)?.name,
  taken: ({ learnt }) => ({ names: learnt.map(({ name }) => name), ids: learnt.map(({ id }) => id) }),
  bring: async (planned, bringing) => bring(planned, bringing, await adapterIn(bringing.archive, planned.item)),
};

export const steps: Kind = {
  ...run,
  // One that has gone on here has all that is in the file, and more.
  sameAs: ({ mark, id }, here) => here.learnt.find((learnt) => learnt.id === id && (learnt.has_files || (here.saved.get(id) ?? 0) >= Number(mark)))?.name,
  bring: (planned, bringing) => bring(planned, bringing, undefined),
};

async function bring({ item, id, name }: Planned, bringing: Bringing, files: Awaited<ReturnType<typeof adapterIn>> | undefined): Promise<void> {
  const { archive, stores, renamed } = bringing;
  const told = learntIn(await archive.needed(item, FILES.record));
  const log = await archive.read(item, FILES.log);
  const logged = log && logIn(log);
  const rows = told.rows && rowsCalled(told.rows, (name) => renamed.get(name) ?? name);
  const learnt = { ...told, id, name, rows };
  try {
    // Should the page close now, it is taken for a run that came to nothing, and cleared away.
    await stores.learnt.put(learnt);
    if (logged) await stores.logs.write(id, logged);
    const has_steps = await bringSteps(item, id, bringing);
    if (files) await stores.learnt.keep(learnt, files);
    else if (!has_steps) throw damaged(`${shown(item.name)} has no saved steps`);
  } catch (thrown) {
    await Trainer.forget(id).catch(() => undefined);
    await stores.learnt.delete(id).catch(() => undefined);
    if (logged) await stores.logs.delete(id).then(undefined, () => undefined);
    throw thrown;
  }
}

/** Whether the run has saved steps, which then are here. The package believes nothing of them. */
async function bringSteps(item: ArchivedItem, id: string, { archive, signal, advance }: Bringing): Promise<boolean> {
  const names = new Set(archive.namesOf(item));
  const pieces: Blob[] = [];
  for (let piece = 1; names.has(stepsName(piece)); piece++) {
    const content = await archive.needed(item, stepsName(piece));
    pieces.push(new Blob([content]));
    advance(content.length);
  }
  if (pieces.length > 0) await Trainer.import_run(id, new Blob(pieces), { signal });
  return pieces.length > 0;
}
