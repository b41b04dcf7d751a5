import type { Order } from "../work/job.js";
import { Kept } from "../ui/kept.js";
import { stored } from "../ui/stored.js";
import { rowsCalled, type Learnt } from "./learnt.js";

/** Under what a run is noted; also the lock of the tab that is at work on it. */
const PREFIX = "tabtune:begun:";

/** A run as it was ordered. */
export interface Begun extends Pick<Learnt, "id" | "name" | "model" | "config" | "question" | "date"> {
  rows: NonNullable<Learnt["rows"]>;
  /** What it was to be asked as it learns; missing where that is the first question of its rows. */
  asks?: NonNullable<Order["asks"]>;
}

export function begunOf({ id, name, model, config, rows, asks }: Order): Begun {
  const { dataset, heldout, is_chat, count, question } = rows;
  return {
    id,
    name,
    model: model.name,
    config,
    rows: { dataset: dataset.name, heldout: heldout?.name ?? null, is_chat, count },
    question,
    date: Date.now(),
    ...(asks && { asks }),
  };
}

/**
 * Runs that are on their way, noted from their order to their end. A page that goes away before anything of its run is saved leaves
 * nothing else behind to tell of it.
 */
export const begunRuns = {
  /** Does the work of a run, which is noted meanwhile. What came to nothing before and is begun anew by it is forgotten. */
  async during(begun: Begun, work: () => Promise<void>): Promise<void> {
    await navigator.locks.request(PREFIX + begun.id, async () => {
      for (const other of await this.left(new Set())) if (isSame(other, begun)) this.forget(other.id);
      noteOf(begun.id).set(begun);
      try {
        await work();
      } finally {
        this.forget(begun.id);
      }
    });
  },

  /** Runs that came to nothing, the latest first. Those with the ids `kept` came to something, and are noted no longer. */
  async left(kept: ReadonlySet<string>): Promise<Begun[]> {
    // A run that ends while locks are asked for is not noted any more afterwards.
    const noted = notedIds();
    const { held = [] } = await navigator.locks.query();
    const at_work = new Set(held.map(({ name }) => name));
    const runs: Begun[] = [];
    for (const id of noted) {
      if (at_work.has(PREFIX + id)) continue;
      const begun = noteOf(id).get();
      if (begun && !kept.has(id)) runs.push(begun);
      else this.forget(id);
    }
    return runs.sort((one, other) => other.date - one.date);
  },

  forget(id: string): void {
    noteOf(id).forget();
  },

  /** The rows of that name have another one now. */
  renameRows(from: string, to: string): void {
    for (const note of notedIds().map(noteOf)) {
      const begun = note.get();
      if (!begun || ![begun.rows.dataset, begun.rows.heldout].includes(from)) continue;
      note.set({ ...begun, rows: rowsCalled(begun.rows, (name) => (name === from ? to : name)) });
    }
  },
};

function notedIds(): string[] {
  return stored.names(PREFIX).map((name) => name.slice(PREFIX.length));
}

function noteOf(id: string): Kept<Begun> {
  return new Kept<Begun>(PREFIX + id, 1);
}

/** Whether they learn the same of the same with the same settings. */
function isSame(one: Begun, other: Begun): boolean {
  const told = ({ model, config, rows: { dataset, heldout } }: Begun) => JSON.stringify([model, config, dataset, heldout]);
  return told(one) === told(other);
}
