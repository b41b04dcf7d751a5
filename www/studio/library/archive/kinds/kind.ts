import type { DatasetInfo, ModelRecord } from "tabtune";
import type { ExchangedFiles, ShelvedAdapter } from "tabtune/exchange";
import type { Learnt, LearntStore } from "../../learnt.js";
import type { Chats, Logs } from "../../others.js";
import type { Archive } from "../archive.js";
import type { ArchivedItem } from "../manifest.js";

/** Where what is packed is read from. */
export interface Sources {
  learnt: Pick<LearntStore, "files">;
  shelf: { open(name: string): Promise<ExchangedFiles> };
  logs: Pick<Logs, "read">;
}

/** Where what an archive brings is put. Rows and models have their place in the package. */
export interface Stores {
  learnt: Pick<LearntStore, "put" | "keep" | "delete">;
  shelf: { put(name: string, files: ExchangedFiles): Promise<unknown> };
  chats: Pick<Chats, "put" | "read" | "nameOf">;
  logs: Pick<Logs, "write" | "delete">;
  settings: { get(name: string): unknown; set(name: string, value: unknown): boolean };
}

/** What is here already, by which an archive's things are told to be new or not. */
export interface Here {
  learnt: readonly Learnt[];
  /** The last saved steps of runs, by their ids. */
  saved: ReadonlyMap<string, number>;
  shelf: readonly (ShelvedAdapter & { mark: string | undefined })[];
  datasets: readonly Pick<DatasetInfo, "name" | "rows" | "fingerprint">[];
  models: readonly ModelRecord[];
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

/** What bringing one thing has to do with. */
export interface Bringing {
  archive: Archive;
  stores: Stores;
  signal: AbortSignal;
  /** What rows are called here, by what they were called where they come from. */
  renamed: ReadonlyMap<string, string>;
  /** Hears of bytes of it that are here now, where it is large. */
  advance(bytes: number): void;
}

/** What is to be known of a kind of things when an archive is taken in. How each is packed stands beside it. */
export interface Kind {
  /** When it is brought: what others name goes first, and what takes long last. */
  turn?: "first" | "last";
  /** Whether things of this kind are known by their names, wherever another one names them. */
  by_name?: true;
  /** What it is called here, if this very thing is here. */
  sameAs(item: ArchivedItem, here: Here, archive: Pick<Archive, "needed">): string | undefined | Promise<string | undefined>;
  /** Names and ids that something new may not have, where they tell things of this kind apart. */
  taken(here: Here): { names?: readonly string[]; ids?: readonly string[] };
  /** A name as this kind can have it. */
  nameFor?(name: string): string;
  /** Puts it where it belongs: whole, or not at all. */
  bring(planned: Planned, bringing: Bringing): Promise<void>;
}
