import { isOver, type LearntEntry } from "./entries.js";
import { isLearnt, type Item } from "./items.js";

/** What is done to free some room. */
export type Freeing =
  | { does: "delete"; item: Item }
  /** The checkpoints of a run alone; what it has learnt stays. */
  | { does: "forget"; entry: LearntEntry }
  /** What an interrupted import has stored. */
  | { does: "discard"; dataset: string };

/** Something that could go. */
export interface Suggestion {
  key: string;
  name: string;
  /** What it frees; undefined where browsers do not tell. */
  bytes: number | undefined;
  /** What would be lost. */
  loss: string;
  freeing: Freeing;
}

/** What can go at least loss: first what loses nothing, then what can be had again, the largest first. */
export function suggestionsFor(items: readonly Item[]): Suggestion[] {
  const groups = [twins(items), checkpoints(items), downloads(items), broken(items)];
  return groups.flatMap((group) => group.sort((one, other) => (other.bytes ?? 0) - (one.bytes ?? 0)));
}

/** Of things with one content all but the first that is kept: what is in use stays, then what others came from, then the oldest. */
function twins(items: readonly Item[]): Suggestion[] {
  const by_mark = new Map<string, Item[]>();
  for (const item of items) {
    // What was learnt and lies on the shelf as well is there for two uses.
    const place = item.kind === "adapter" && !isLearnt(item.subject) ? "shelf" : item.kind;
    if (item.mark) by_mark.set(`${place} ${item.mark}`, [...(by_mark.get(`${place} ${item.mark}`) ?? []), item]);
  }
  return [...by_mark.values()].flatMap((same) => {
    const [kept, ...others] = same.sort((one, other) => worth(other) - worth(one) || (one.date ?? 0) - (other.date ?? 0));
    const free = others.filter((item) => worth(item) === 0);
    return free.map((item) => ({ key: item.key, name: item.name, bytes: item.bytes, loss: `Nothing: “${kept!.name}” is the same.`, freeing: { does: "delete" as const, item } }));
  });
}

/** What is kept of a run needs the run no more. */
function worth({ kind, now, to }: Item): number {
  return (now ? 1000 : 0) + (kind === "run" ? 0 : to.length);
}

function checkpoints(items: readonly Item[]): Suggestion[] {
  const entries = items.flatMap(({ kind, subject }) => (kind === "run" ? [subject as LearntEntry] : []));
  const free = entries.filter(({ learnt, checkpoint_bytes }) => learnt.has_files && checkpoint_bytes > 0);
  return free.map((entry) => ({
    key: `checkpoints/${entry.learnt.id}`,
    name: `Saved steps of ${entry.learnt.name}`,
    bytes: entry.checkpoint_bytes,
    loss: isOver(entry) ? "Nothing: the run is over, and what it learnt stays." : "The run cannot go on any more. What it has learnt so far stays.",
    freeing: { does: "forget" as const, entry },
  }));
}

function downloads(items: readonly Item[]): Suggestion[] {
  const models = items.filter(({ kind, bytes }) => kind === "model" && bytes > 0);
  return models.map((item) => ({ key: item.key, name: item.name, bytes: item.bytes, loss: "Nothing but time: it is downloaded again when it is needed.", freeing: { does: "delete" as const, item } }));
}

function broken(items: readonly Item[]): Suggestion[] {
  const begun = items.flatMap((item) => (item.kind === "dataset" && item.subject.pending_rows !== null ? [item] : []));
  return begun.map(({ name }) => ({
    key: `import/${name}`,
    name: `Stopped import of ${name}`,
    bytes: undefined,
    loss: "The import cannot go on where it stopped; your own file is still yours.",
    freeing: { does: "discard" as const, dataset: name },
  }));
}
