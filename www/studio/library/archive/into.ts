import type { Archive } from "./archive.js";
import { KIND } from "./kinds/index.js";
import type { Planned, Stores } from "./kinds/kind.js";
import { throwIfStopped } from "./stopping.js";

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

const TURNS = ["first", undefined, "last"];

/**
 * Brings what was chosen of an archive, thing by thing: each is here whole, or not at all. Rows come first, as runs name them. Resolves to
 * what could not be brought, beside which all else is here. Stopping it leaves what was brought before.
 */
export async function bring(archive: Archive, plan: readonly Planned[], chosen: readonly Planned[], stores: Stores, { signal, report }: Following): Promise<NotBrought[]> {
  // Whatever becomes of them, runs are to name the rows as they are called here.
  const renamed = new Map(plan.flatMap(({ item, id, is_here }) => (KIND[item.kind].by_name && (is_here || chosen.some((one) => one.item === item)) ? [[item.id, id] as const] : [])));
  const total = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
  const tell = (bytes: number) => report((100 * bytes) / Math.max(1, total));
  let done = 0;
  const turnOf = ({ item }: Planned) => TURNS.indexOf(KIND[item.kind].turn);
  const failed: NotBrought[] = [];
  for (const planned of [...chosen].sort((one, other) => turnOf(one) - turnOf(other))) {
    throwIfStopped(signal);
    let here = 0;
    const advance = (bytes: number) => tell(done + (here += bytes));
    try {
      await KIND[planned.item.kind].bring(planned, { archive, stores, signal, renamed, advance });
    } catch (thrown) {
      throwIfStopped(signal);
      failed.push({ name: planned.item.name, thrown });
    }
    tell((done += planned.bytes));
  }
  return failed;
}
