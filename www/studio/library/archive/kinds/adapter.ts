import { CARD_FILE } from "tabtune/exchange";
import type { MarkedAdapter } from "../../items.js";
import type { ToPack } from "../pack.js";
import { adapterFiles, adapterIn } from "./files.js";
import type { Kind, Sources } from "./kind.js";

/** Letters of a name on the shelf, without those of a number behind it. */
const LONGEST = 70;

export function shelvedToPack({ name, kept, mark = "", bytes }: MarkedAdapter, { shelf }: Sources): ToPack {
  const files = async function* () {
    const all = await shelf.open(name);
    yield* adapterFiles(all);
    // A signature is over these very bytes.
    if (all[CARD_FILE]) yield { name: CARD_FILE, content: all[CARD_FILE], is_text: true };
  };
  return { kind: "adapter", id: kept, name, date: Date.parse(kept), mark, bytes, files };
}

/** An adapter of the shelf. */
export const adapter: Kind = {
  sameAs: ({ mark, name, id }, here) => here.shelf.find((other) => mark !== "" && other.mark === mark && (other.name === name || other.kept === id))?.name,
  taken: ({ shelf }) => ({ names: shelf.map(({ name }) => name) }),
  nameFor: (name) => name.replace(/\p{C}/gu, " ").trim().slice(0, LONGEST).trim() || "adapter",
  bring: async ({ item, name }, { archive, stores }) => {
    const card = await archive.read(item, CARD_FILE);
    await stores.shelf.put(name, { ...(await adapterIn(archive, item)), ...(card && { [CARD_FILE]: card }) });
  },
};
