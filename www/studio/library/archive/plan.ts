import type { ShelvedAdapter } from "tabtune/exchange";
import type { Archive } from "./archive.js";
import type { ArchivedItem, ArchivedKind } from "./manifest.js";
import type { Learnt } from "../learnt.js";

/** What is here already, by which an archive's things are told to be new or not. */
export interface Here {
  learnt: readonly Learnt[];
  shelf: readonly (ShelvedAdapter & { mark: string | undefined })[];
  datasets: readonly { name: string; rows: number; fingerprint: string }[];
  chats: readonly { id: string; mark: string }[];
}

/** What becomes of something in an archive. */
export interface Planned {
  item: ArchivedItem;
  /** Whether this very thing is here already, so that it is left out. */
  is_here: boolean;
  /** What it is called here: by another name where that one is taken. */
  name: string;
  /** What it is known by here. */
  id: string;
  bytes: number;
}

/** Says of everything in an archive whether it is new here, and what it will be called. Nothing that is here is ever written over. */
export function planFor({ manifest }: Pick<Archive, "manifest">, here: Here): Planned[] {
  const names = takenNames(here);
  const ids = takenIds(here);
  return manifest.items.map((item) => {
    const bytes = item.files.reduce((sum, file) => sum + file.bytes, 0);
    const same = sameAs(item, here);
    if (same !== undefined) return { item, is_here: true, name: same, id: item.kind === "dataset" ? same : item.id, bytes };
    const name = free(plain(item), names[item.kind]);
    const id = item.kind === "dataset" ? name : free(item.id, ids[item.kind]);
    names[item.kind].add(name);
    ids[item.kind].add(id);
    return { item, is_here: false, name, id, bytes };
  });
}

/** What it is called here, if it is here. */
function sameAs({ kind, id, mark, name }: ArchivedItem, here: Here): string | undefined {
  switch (kind) {
    case "run":
      return here.learnt.find((learnt) => mark !== "" && learnt.has_files && learnt.id === id && learnt.weights === mark)?.name;
    case "adapter":
      return here.shelf.find((adapter) => mark !== "" && adapter.mark === mark && (adapter.name === name || adapter.kept === id))?.name;
    case "dataset":
      return here.datasets.find(({ rows, fingerprint }) => mark !== "" && rows > 0 && fingerprint === mark)?.name;
    case "chat":
      return here.chats.some((chat) => chat.id === id && chat.mark === mark) ? name : undefined;
    case "settings":
      // They are looked at one by one as they are brought.
      return undefined;
  }
}

function takenNames({ learnt, shelf, datasets }: Here): Record<ArchivedKind, Set<string>> {
  return {
    run: new Set(learnt.map(({ name }) => name)),
    adapter: new Set(shelf.map(({ name }) => name)),
    // An import that stopped holds no rows yet, and begins anew.
    dataset: new Set(datasets.filter(({ rows }) => rows > 0).map(({ name }) => name)),
    chat: new Set(),
    settings: new Set(),
  };
}

function takenIds({ learnt, chats }: Here): Record<ArchivedKind, Set<string>> {
  return { run: new Set(learnt.map(({ id }) => id)), adapter: new Set(), dataset: new Set(), chat: new Set(chats.map(({ id }) => id)), settings: new Set() };
}

/** Names on the shelf are short, and of one line. */
function plain({ kind, name }: ArchivedItem): string {
  return kind === "adapter" ? name.replace(/\p{C}/gu, " ").trim().slice(0, 70).trim() || "adapter" : name;
}

/** The name itself, or with a number behind it that tells it from those that are there. */
function free(name: string, taken: Set<string>): string {
  for (let number = 1; ; number++) {
    const other = number === 1 ? name : `${name} (${number})`;
    if (!taken.has(other)) return other;
  }
}
