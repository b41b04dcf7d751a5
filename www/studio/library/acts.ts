import { waysOf, type LearntEntry } from "./entries.js";
import { isLearnt, type Item } from "./items.js";

/** What can be done with something in the library. */
export type Act = "open" | "go on" | "settings" | "use" | "train" | "look" | "card" | "download" | "shelve" | "give" | "export" | "rename" | "delete";

/** An act as its button has it. */
export interface Offer {
  act: Act;
  /** What the button says; its name for those who do not see is this and the name of the thing. */
  word: string;
  /** Whether it is what people mostly come for, so that it stays in sight on a phone. */
  is_first: boolean;
}

/** What can be done with an item as things are. */
export function offersOf(item: Item): Offer[] {
  switch (item.kind) {
    case "run":
      return offersOfLearnt(item.subject, item);
    case "adapter":
      if (isLearnt(item.subject)) return offersOfLearnt(item.subject, item);
      return [...(item.now ? [] : [first("use", "Use")]), later("card", "Card"), later("give", "Give away"), ...RENAME, ...DELETE];
    case "dataset":
      return [...(item.subject.rows > 0 ? [first("train", "Train on"), later("look", "Look at"), later("export", "Export")] : []), ...RENAME, ...DELETE];
    case "model":
      // A folder's address names none of the hub's models.
      return [...(/^[^/:]+\/[^/:]+$/.test(item.name) ? [first("use", "Use")] : []), ...DELETE];
    case "chat":
      return [first("open", "Open"), later("export", "Export"), ...RENAME, ...DELETE];
  }
}

function offersOfLearnt(entry: LearntEntry, { now, is_shelved }: Pick<Item, "now" | "is_shelved">): Offer[] {
  const ways = waysOf(entry);
  const offers: Offer[] = [];
  if (ways.includes("open") && !now) offers.push(first("open", "Open"));
  if (ways.includes("reopen") && !now) offers.push(first("go on", "Open"));
  if (ways.includes("go on")) offers.push(first("go on", `Go on from step ${entry.saved_step.toLocaleString("en")}`));
  if (entry.learnt.has_files) offers.push(later("card", "Card"), later("download", "Download"), ...(is_shelved ? [] : [later("shelve", "Put on the shelf")]), later("give", "Give away"));
  if (entry.learnt.rows) offers.push(later("settings", "Use its settings"));
  return [...offers, ...RENAME, ...DELETE];
}

function first(act: Act, word: string): Offer {
  return { act, word, is_first: true };
}

function later(act: Act, word: string): Offer {
  return { act, word, is_first: false };
}

const RENAME = [later("rename", "Rename")];
const DELETE = [later("delete", "Delete")];

/** What is asked before something is deleted; `needing` are the runs that could not go on without it. */
export function deleteQuestion({ kind, name, to, subject }: Item, needing: readonly string[]): string {
  const others = to.map((origin) => `“${origin.name}”`).join(", ");
  switch (kind) {
    case "run":
      return `Delete “${name}” from this browser? What was learnt is lost then${others ? `, but for what is kept as ${others}` : ""}.`;
    case "adapter":
      return isLearnt(subject) ? `Delete “${name}” from this browser? What was learnt is lost then.` : `Delete “${name}” from the shelf?`;
    case "dataset": {
      const loss = needing.length > 0 ? ` It is needed to go on with ${needing.map((run) => `“${run}”`).join(", ")}.` : "";
      return `Delete “${name}” from this browser?${loss} Your own file stays as it is, and so does what was learnt.`;
    }
    case "model":
      return `Delete “${name}” from this browser? It is downloaded again when it is needed.`;
    case "chat":
      return `Delete the chat “${name}” from this browser? What was said in it is lost then.`;
  }
}
