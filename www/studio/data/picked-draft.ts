import { delMany, getMany, set, type UseStore } from "idb-keyval";
import { openStore } from "../ui/database.js";
import type { Mend } from "./mended.js";
import type { Roles } from "./roles.js";

/** What is kept of files beyond a reload; larger ones are chosen again. */
const MOST_BYTES = 64e6;

const VERSION = 1;

/** What a person said of the files that they picked. */
export interface Said {
  roles: Roles;
  encoding: string;
  header: boolean;
  pairs: string;
  name: string;
  mends: Mend[];
  skips_bad: boolean;
  leaves_twins: boolean;
}

/** Files that were picked and not imported yet, with what was said of them. */
interface PickedDraft {
  files: File[];
  name: string;
  said: Said | undefined;
}

interface KeptFiles {
  version: number;
  files: File[];
  name: string;
}

interface KeptSaid {
  version: number;
  said: Said;
}

/** Keeps what was picked over a reload, until it is imported. What a later version of the page keeps is left alone. */
export class PickedDrafts {
  #store: UseStore | undefined;
  /** Writes, one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  async get(): Promise<PickedDraft | undefined> {
    const [files, said] = await this.#read();
    if (files?.version !== VERSION || !Array.isArray(files.files) || !files.files.every((file) => file instanceof File)) return undefined;
    return { files: files.files, name: files.name, said: said?.version === VERSION ? said.said : undefined };
  }

  /** Keeps the files, if they can be kept, in place of others. */
  keep(source: unknown, name: string): void {
    const files = (Array.isArray(source) ? source : [source]) as File[];
    // Of a folder the browser would forget where in it a file lay.
    const can_be_kept = files.every((file) => file instanceof File && !file.webkitRelativePath) && sum(files) <= MOST_BYTES;
    if (!can_be_kept) return this.forget();
    this.#later(async (store) => {
      await set("said", undefined, store);
      await set("files", { version: VERSION, files, name } satisfies KeptFiles, store);
    });
  }

  say(said: Said): void {
    this.#later((store) => set("said", { version: VERSION, said } satisfies KeptSaid, store));
  }

  forget(): void {
    this.#later((store) => delMany(["files", "said"], store));
  }

  /** What is kept is a convenience: where the browser has no room for it, the files are picked again. */
  #later(write: (store: UseStore) => Promise<unknown>): void {
    this.#last = this.#last.then(async () => {
      const [files, said] = await this.#read();
      if (Math.max(files?.version ?? 0, said?.version ?? 0) > VERSION) return;
      await write(this.#opened());
    }).catch(() => undefined);
  }

  #read(): Promise<[KeptFiles | undefined, KeptSaid | undefined]> {
    return getMany<never>(["files", "said"], this.#opened()) as Promise<[KeptFiles | undefined, KeptSaid | undefined]>;
  }

  #opened(): UseStore {
    return (this.#store ??= openStore("tabtune-draft", "picked"));
  }
}

function sum(files: File[]): number {
  return files.reduce((bytes, { size }) => bytes + size, 0);
}
