import { del, entries, get, keys, set, type UseStore } from "idb-keyval";
import { openStore } from "../ui/database.js";
import { METRICS, RunLog, type Metric } from "./run-log.js";

/** A log as the browser keeps it: numbers in columns, NaN where nothing is known. */
interface KeptLog {
  version: 1;
  total: number;
  every: number;
  steps: Float64Array;
  columns: Partial<Record<Metric, Float32Array | Float64Array>>;
}

/** What grows large is exact to the second and to the token. */
const LONG: readonly Metric[] = ["seconds", "tokens"];

/** What a log takes, kept apart from it: nobody has to read hundreds of logs to know what they take. */
interface KeptSize {
  version: 1;
  bytes: number;
}

let opened: UseStore | undefined;
const store = () => (opened ??= openStore("tabtune-logs", "logs"));
let opened_sizes: UseStore | undefined;
const sizeStore = () => (opened_sizes ??= openStore("tabtune-log-sizes", "sizes"));

/** The logs of runs, kept in the browser by the run's id. */
export const RunLogs = {
  /** The log of that run, if there is one that this version of the page can read. */
  async get(id: string): Promise<RunLog | undefined> {
    const kept = await get<KeptLog>(id, store());
    if (kept?.version !== 1) return undefined;
    const log = new RunLog(kept.total);
    log.fill(kept.steps, kept.every, kept.columns);
    return log;
  },

  async put(id: string, log: RunLog): Promise<void> {
    const columns: KeptLog["columns"] = {};
    for (const metric of METRICS) columns[metric] = numbersOf(log.column(metric), LONG.includes(metric));
    const kept: KeptLog = { version: 1, total: log.total, every: log.every, steps: Float64Array.from(log.steps), columns };
    await set(id, kept, store());
    await keepSize(id, kept);
  },

  /** Forgets the log of a run. */
  async delete(id: string): Promise<void> {
    await del(id, store());
    await del(id, sizeStore());
  },

  ids: (): Promise<string[]> => keys<string>(store()),

  /** What each of them takes. One whose size was never noted, by an earlier page or one that was closed too soon, is read once. */
  async sizes(): Promise<Map<string, number>> {
    const [ids, noted] = await Promise.all([RunLogs.ids(), entries<string, KeptSize>(sizeStore())]);
    const known = new Map(noted.flatMap(([id, { version, bytes }]) => (version === 1 ? [[id, bytes] as const] : [])));
    const sizes = new Map<string, number>();
    for (const id of ids) {
      const bytes = known.get(id) ?? (await measured(id));
      if (bytes !== undefined) sizes.set(id, bytes);
    }
    return sizes;
  },

  /** Forgets logs whose runs are gone. What a later version of this page wrote is left alone. */
  async tidy(is_there: (id: string) => Promise<boolean>): Promise<void> {
    for (const id of await RunLogs.ids()) {
      // Logs are large, so none is read whose run is there.
      if (!(await is_there(id)) && (await get<KeptLog>(id, store()))?.version === 1) await RunLogs.delete(id);
    }
  },
};

/** What a log takes that was not measured yet; nothing where this version of the page cannot read it. */
async function measured(id: string): Promise<number | undefined> {
  const kept = await get<KeptLog>(id, store());
  return kept?.version === 1 ? keepSize(id, kept) : undefined;
}

async function keepSize(id: string, { steps, columns }: KeptLog): Promise<number> {
  const bytes = Object.values(columns).reduce((sum, { byteLength }) => sum + byteLength, steps.byteLength);
  const size: KeptSize = { version: 1, bytes };
  // It is measured anew where there is no room to note it.
  await set(id, size, sizeStore()).catch(() => undefined);
  return bytes;
}

function numbersOf(values: (number | null)[], is_long: boolean): Float32Array | Float64Array {
  const numbers = values.map((value) => value ?? NaN);
  return is_long ? Float64Array.from(numbers) : Float32Array.from(numbers);
}

/** How long new steps may wait until they are written. */
const WAIT_MILLIS = 3000;

/** Keeps the log of the run that goes on: now and then, when the page is left, and at its end. */
export class LogKeeper {
  #id: string | undefined;
  #log: RunLog | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor() {
    addEventListener("pagehide", () => this.flush());
  }

  /** From now on it is this one. */
  follow(id: string, log: RunLog): void {
    this.flush();
    this.#id = id;
    this.#log = log;
  }

  /** Something new is in it. */
  later(): void {
    this.#timer ??= setTimeout(() => this.flush(), WAIT_MILLIS);
  }

  /** Writes what was not written yet. Where there is no room the run goes on without. */
  flush(): Promise<void> {
    if (this.#timer === undefined) return this.#writing;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const [id, log] = [this.#id, this.#log];
    if (id !== undefined && log) this.#writing = this.#writing.then(() => RunLogs.put(id, log)).catch(() => undefined);
    return this.#writing;
  }
}
