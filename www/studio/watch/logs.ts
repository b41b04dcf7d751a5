import { createStore, del, get, keys, set, type UseStore } from "idb-keyval";
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

let opened: UseStore | undefined;
const store = () => (opened ??= createStore("tabtune-logs", "logs"));

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
  },

  /** Forgets the log of a run. */
  delete: (id: string): Promise<void> => del(id, store()),

  ids: (): Promise<string[]> => keys<string>(store()),

  /** Forgets logs whose runs are gone. What a later version of this page wrote is left alone. */
  async tidy(is_there: (id: string) => Promise<boolean>): Promise<void> {
    for (const id of await RunLogs.ids()) {
      // Logs are large, so none is read whose run is there.
      if (!(await is_there(id)) && (await get<KeptLog>(id, store()))?.version === 1) await RunLogs.delete(id);
    }
  },
};

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
