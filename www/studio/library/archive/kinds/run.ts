import type { Learnt } from "../../learnt.js";
import type { ToPack } from "../pack.js";
import { learntIn, logIn } from "../records.js";
import { adapterFiles, adapterIn, text } from "./files.js";
import type { Bringing, Kind, Planned, Sources } from "./kind.js";

/** What a run learnt, or an adapter that was opened from a file. */
const FILES = { record: "record.json", log: "log.json" };

export function learntToPack(learnt: Learnt, { learnt: store, logs }: Sources): ToPack {
  const { id, name, date, weights = "", bytes = 0 } = learnt;
  const files = async function* () {
    yield text(FILES.record, learnt);
    yield* adapterFiles(await store.files(id));
    const log = await logs.read(id);
    if (log) yield text(FILES.log, log);
  };
  return { kind: "run", id, name, date, mark: weights, bytes, files };
}

export const run: Kind = {
  sameAs: ({ mark, id }, here) => here.learnt.find((learnt) => mark !== "" && learnt.has_files && learnt.id === id && learnt.weights === mark)?.name,
  taken: ({ learnt }) => ({ names: learnt.map(({ name }) => name), ids: learnt.map(({ id }) => id) }),
  bring,
};

async function bring({ item, id, name }: Planned, { archive, stores, renamed }: Bringing): Promise<void> {
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
