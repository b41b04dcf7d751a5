import { stored } from "../ui/stored.js";

const PREFIX = "tabtune:together:";

/** Taking part that has begun and is not over, which outlives the page. */
export interface Begun {
  /** The terms that were agreed to, but for who may join. */
  terms: string;
  id: string;
  name: string;
  dataset: string;
  /** The round that is under way, or comes next. */
  round: number;
}

/** What it is kept as, of the federation at an address. */
export function keyOf(address: string): string {
  return PREFIX + address;
}

/** The rows by which a person began have another name now. */
export function renameBegun(from: string, to: string): void {
  for (const key of stored.names(PREFIX)) {
    const begun = stored.get<Begun>(key);
    if (begun?.dataset === from) stored.set(key, { ...begun, dataset: to });
  }
}
