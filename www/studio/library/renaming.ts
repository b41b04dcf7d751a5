import { Dataset } from "tabtune";
import { renamePicked } from "../chat/picked-rows.js";
import { chosenWay } from "../data/ways.js";
import { Kept } from "../ui/kept.js";
import { renameBegun } from "../together/begun.js";
import { MissingInput } from "../ui/missing.js";
import { begunRuns } from "./begun.js";
import { remembered } from "../ui/remembered.js";
import type { LearntStore } from "./learnt.js";

/** Rows that get another name, and which. */
export interface Renaming {
  from: string;
  to: string;
}

/** What was begun: a page that is closed in the midst of it leaves it to the next one. */
const begun = new Kept<Renaming>("tabtune:renaming", 1);

/** Gives rows another name, and all that finds them by it. `bundled` are names that rows of a person cannot have. */
export async function renameRows(renaming: Renaming, store: LearntStore, bundled: readonly string[]): Promise<void> {
  const { from, to } = renaming;
  if (bundled.includes(to)) throw new MissingInput(`“${to}” is what the rows are called that come with the page. Choose another name.`);
  if ((await Dataset.list()).some(({ name }) => name === to)) {
    throw new MissingInput(`There are rows called “${to}” already. Choose another name, or delete those first.`);
  }
  const dataset = await Dataset.open(from);
  begun.set(renaming);
  await dataset.rename(to).catch((thrown: unknown) => {
    begun.forget();
    throw thrown;
  });
  await follow(renaming, store);
  begun.forget();
}

/** Ends what a page that was closed had begun. */
export async function endRenaming(store: LearntStore): Promise<void> {
  const renaming = begun.get();
  if (!renaming) return;
  const names = (await Dataset.list()).map(({ name }) => name);
  if (names.includes(renaming.to) && !names.includes(renaming.from)) await follow(renaming, store);
  begun.forget();
}

/**
 * What finds the rows by their name: runs, also those that came to nothing, the choices of their import, of what to train on, where picks go,
 * and rounds of learning together.
 */
async function follow({ from, to }: Renaming, store: LearntStore): Promise<void> {
  await store.renameRows(from, to);
  remembered.rename(from, to);
  renamePicked(from, to);
  renameBegun(from, to);
  begunRuns.renameRows(from, to);
  const way = chosenWay.get();
  if (way?.kept === from) chosenWay.set({ ...way, kept: to });
}
