import { createStore, del, get, set } from "idb-keyval";
import type { Content } from "./wire/content.js";
import type { IncomingHead } from "./wire/message.js";

/** A round until its answer is with the server, as it outlives the tab. */
export interface KeptRound {
  version: 1;
  /** What the answer is to. */
  head: IncomingHead;
  number: number;
  /** What came, flat. */
  adapter: Float32Array;
  frozen: Float32Array | undefined;
  /** Whether the run's last checkpoint was made of it. */
  is_begun: boolean;
  /** What was made of it and still has to be sent. */
  answer: Content | undefined;
  /** When it was made, in milliseconds by the server's clock. */
  made_at: number | undefined;
  /** What the encoding of the answer lost. */
  residual: Float32Array | undefined;
}

/** What of a federation outlives the tab, by its server's address. */
export interface RoundStore {
  get(): Promise<KeptRound | undefined>;
  /** Keeps a round in place of the one before, or none. */
  set(round: KeptRound | undefined): Promise<void>;
  /** A message that the server has given away, until it is answered or a round is kept of it. */
  head(): Promise<IncomingHead | undefined>;
  setHead(head: IncomingHead | undefined): Promise<void>;
  /** What the encoding of all rounds so far has lost. */
  residual(): Promise<Float32Array | undefined>;
  setResidual(residual: Float32Array | undefined): Promise<void>;
  /** Objects that a later message may have again, as a frozen half of an adapter is. */
  cache: { get(id: string): Promise<Uint8Array<ArrayBuffer> | undefined>; set(id: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> };
}

/** The most bytes of objects that are kept. */
const CACHE_BYTES = 32 << 20;

/** What the browser keeps of the federation at an address. */
export function roundStore(address: string): RoundStore {
  const store = createStore("tabtune-rounds", "rounds");
  const of = (what: string) => `${what} ${address}`;
  const put = (what: string, value: unknown) => (value === undefined ? del(of(what), store) : set(of(what), value, store));
  return {
    async get() {
      const kept = await get<KeptRound>(of("round"), store);
      // A later version may mean something else by the same names.
      return kept?.version === 1 ? kept : undefined;
    },
    set: (round) => put("round", round),
    head: () => get<IncomingHead>(of("head"), store),
    setHead: (head) => put("head", head),
    residual: () => get<Float32Array>(of("residual"), store),
    setResidual: (residual) => put("residual", residual),
    cache: cacheInMemory(),
  };
}

/** The last objects that came, by their ids, as long as the tab lives. */
function cacheInMemory(): RoundStore["cache"] {
  const objects = new Map<string, Uint8Array<ArrayBuffer>>();
  let total = 0;
  return {
    get: async (id) => objects.get(id),
    async set(id, bytes) {
      objects.set(id, bytes);
      total += bytes.length;
      for (const [oldest, { length }] of objects) {
        if (total <= CACHE_BYTES) break;
        objects.delete(oldest);
        total -= length;
      }
    },
  };
}
