import { del, get, promisifyRequest, set, values } from "idb-keyval";
import { openStore } from "../ui/database.js";
import type { AdapterFiles } from "tabtune";
import { sha256 } from "./archive/sums.js";
import { MissingInput } from "../ui/missing.js";
import type { ModelName } from "../train/model-name.js";
import type { Question } from "../work/question.js";
import type { Config } from "../train/settings.js";

/** What the rows told that a run held out of its own: a loss in nats a token, or that of preferences. */
export interface HeldoutLosses {
  rows: number;
  before: number;
  after: number;
}

/** Something that was learnt or is being learnt, as the browser keeps it. */
export interface Learnt {
  version: 1;
  /** The name of its run, which no other run has. */
  id: string;
  /** What the person calls it. */
  name: string;
  model: ModelName;
  config: Config;
  /** The rows of its run; null for an adapter that came as files. */
  rows: { dataset: string; heldout: string | null; is_chat: boolean; count: number | null } | null;
  /** The first thing that its rows are asked by. */
  question: Question | null;
  /** Whether its adapter's files are kept; a run of all weights has its last checkpoint alone. */
  has_files: boolean;
  /** Steps that they have learnt; null where nobody knows. */
  steps: number | null;
  /** Whether the run ended before its last step because it got no better, so that it does not go on. */
  is_early?: boolean;
  heldout?: HeldoutLosses;
  /** What a measurement of it came to, in a few words. */
  measured?: string;
  /** What its files take, and the sha256 of its weights, by which it is known elsewhere; missing of what was kept by an earlier page. */
  bytes?: number;
  weights?: string;
  /** Milliseconds since 1970. */
  date: number;
}

/** What is known of a run's rows, where each of them is called something else. */
export function rowsCalled(rows: NonNullable<Learnt["rows"]>, called: (name: string) => string): NonNullable<Learnt["rows"]> {
  const { dataset, heldout } = rows;
  return { ...rows, dataset: called(dataset), heldout: heldout == null ? null : called(heldout) };
}

/** What was learnt on this page, kept in the browser apart from the rows. */
export class LearntStore {
  /** The large files lie apart, so that a list does not read them. */
  readonly #records = openStore("tabtune-learnt", "records");
  readonly #adapters = openStore("tabtune-adapters", "files");

  /** All of it, the latest first; what a later version of this page wrote is left alone. */
  async all(): Promise<Learnt[]> {
    const all = await values<Learnt>(this.#records);
    return all.filter(({ version }) => version === 1).sort((a, b) => b.date - a.date);
  }

  /** As it is now: another tab may have changed or deleted it. */
  get(id: string): Promise<Learnt | undefined> {
    return get<Learnt>(id, this.#records);
  }

  put(learnt: Learnt): Promise<void> {
    return set(learnt.id, learnt, this.#records);
  }

  /** Changes the name alone, and nothing where it was deleted. */
  async rename(id: string, name: string): Promise<void> {
    await this.#change(id, (stored) => stored && { ...stored, name });
  }

  /** The rows of that name have another one now. */
  async renameRows(from: string, to: string): Promise<void> {
    const called = (name: string) => (name === from ? to : name);
    for (const { id, rows } of await this.all()) {
      if (![rows?.dataset, rows?.heldout].includes(from)) continue;
      await this.#change(id, (stored) => stored && { ...stored, rows: stored.rows && rowsCalled(stored.rows, called) });
    }
  }

  /** Keeps what a measurement came to, and nothing where it was deleted. */
  async measured(id: string, measured: string): Promise<void> {
    await this.#change(id, (stored) => stored && { ...stored, measured });
  }

  /** Keeps the files, if there are any, and then what says that they are there. A name that was given meanwhile stays. */
  async keep(learnt: Learnt, files: AdapterFiles | undefined): Promise<void> {
    if (files) await set(learnt.id, files, this.#adapters);
    const { bytes: _, weights: __, ...told } = learnt;
    const measured = files && (await measuredOf(files));
    await this.#change(learnt.id, (stored) => ({ ...told, ...measured, name: stored?.name ?? learnt.name, has_files: files !== undefined }));
  }

  /** Notes what the files take and are known by, of what an earlier page has kept. */
  async measure(learnt: Learnt): Promise<Learnt> {
    const files = learnt.has_files && learnt.bytes === undefined ? await get<AdapterFiles>(learnt.id, this.#adapters) : undefined;
    if (!files) return learnt;
    const measured = await measuredOf(files);
    await this.#change(learnt.id, (stored) => stored && { ...stored, ...measured });
    return { ...learnt, ...measured };
  }

  async files(id: string): Promise<AdapterFiles> {
    const files = await get<AdapterFiles>(id, this.#adapters);
    if (!files) throw new MissingInput("The files of this adapter are gone from this browser: it cleared them, or another tab deleted them.");
    return files;
  }

  async delete(id: string): Promise<void> {
    await del(id, this.#records);
    await del(id, this.#adapters);
  }

  /** Changes what is stored, while no other tab can; nothing where there is nothing to store. */
  async #change(id: string, change: (stored: Learnt | undefined) => Learnt | undefined): Promise<void> {
    await this.#records("readwrite", async (records) => {
      const changed = change(await promisifyRequest<Learnt | undefined>(records.get(id)));
      if (changed) records.put(changed, id);
      await promisifyRequest(records.transaction);
    });
  }
}

async function measuredOf(files: AdapterFiles): Promise<{ bytes: number; weights: string }> {
  const bytes = Object.values(files).reduce((sum, { length }) => sum + length, 0);
  return { bytes, weights: await sha256(files["adapter_model.safetensors"]) };
}
