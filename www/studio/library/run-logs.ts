import type { KeptLog, Logs } from "./others.js";

/** A log as the place Train has it. */
interface RunLog<Metric extends string> {
  readonly total: number;
  readonly every: number;
  readonly steps: number[];
  column(metric: Metric): (number | null)[];
  fill(steps: Float64Array, every: number, columns: Partial<Record<Metric, Float64Array>>): void;
}

/** Where that place keeps them. */
interface RunLogs<Log> {
  get(id: string): Promise<Log | undefined>;
  put(id: string, log: Log): Promise<void>;
  delete(id: string): Promise<void>;
  /** What each takes. */
  sizes(): Promise<Map<string, number>>;
}

/** The logs of runs as the library takes them along: `make` makes an empty one of a run of so many steps. */
export function logsOf<Metric extends string, Log extends RunLog<Metric>>(store: RunLogs<Log>, make: (total: number) => Log, metrics: readonly Metric[]): Logs {
  return {
    sizes: () => store.sizes(),
    async read(id) {
      const log = await store.get(id);
      if (!log) return undefined;
      return { version: 1, total: log.total, every: log.every, steps: [...log.steps], columns: Object.fromEntries(metrics.map((metric) => [metric, log.column(metric)])) };
    },
    async write(id, { total, every, steps, columns }: KeptLog) {
      const log = make(total);
      const told = metrics.filter((metric) => Object.hasOwn(columns, metric));
      const filled = Object.fromEntries(told.map((metric) => [metric, Float64Array.from(columns[metric]!, (value) => value ?? NaN)]));
      log.fill(Float64Array.from(steps), every, filled as Partial<Record<Metric, Float64Array>>);
      await store.put(id, log);
    },
    delete: (id) => store.delete(id),
  };
}
