import type { AdapterInfo, Plan, StepLog } from "tabtune";
import { Kept } from "../ui/kept.js";
import type { Order } from "../work/job.js";
import type { Follower } from "../work/run.js";
import type { Config } from "./fields.js";
import { trainsAll } from "./settings.js";
import { costOf, tokenCost, type Pace, type Way } from "./time.js";

/** Runs that are remembered; the earliest are forgotten. */
const MOST = 40;

/** Events of a run that stands still. */
const STANDING: ReadonlySet<string> = new Set(["paused", "resting", "device-lost", "unresponsive"]);

/** What was learnt of how long runs take, as the browser keeps it. */
interface KeptTiming {
  paces: Pace[];
  /** By the name of the dataset. */
  rows: Record<string, KnownRows>;
}

/** How long rows are, in tokens. */
export interface KnownRows {
  /** Of one of them. */
  mean: number;
  /** Of all that are held out from them. */
  heldout: number;
}

/** What is heard of the run that goes on. */
interface RunTimes {
  way: Way;
  /** Of each step but the first, which has more to do. */
  millis_per_token: number[];
  /** Tokens of all steps that were told; undefined before the first. */
  tokens: number | undefined;
  /** Tokens that were measured, all times together. */
  measured: number;
  /** When it began, on the page's clock; undefined once it has rested, or where it goes on with an earlier one. */
  began: number | undefined;
}

/** What computes, and how large a model. */
interface Computing {
  adapter: AdapterInfo;
  parameters: number;
}

/** Remembers how fast this device trains, and how long the rows of a dataset are. */
export class Timing {
  readonly #kept = new Kept<KeptTiming>("tabtune:timing", 1);
  readonly #computing: () => Computing | undefined;
  #run: RunTimes | undefined;

  /** `computing` tells of the model that is loaded. */
  constructor(computing: () => Computing | undefined) {
    this.#computing = computing;
  }

  get paces(): readonly Pace[] {
    return this.#known.paces;
  }

  /** How long the rows of that dataset are; undefined where none was learnt from yet. */
  rowsOf(dataset: string): KnownRows | undefined {
    return this.#known.rows[dataset];
  }

  /** What follows runs, and this beside it. */
  beside(other: Follower): Follower {
    return {
      begun: (order, plan) => {
        this.#begun(order, plan);
        return other.begun(order, plan);
      },
      event: (event) => {
        if (this.#run && STANDING.has(event.type)) this.#run.began = undefined;
        other.event(event);
      },
      stepped: (line) => {
        this.#stepped(line);
        other.stepped?.(line);
      },
      learnt: (order, ending, files) => {
        this.#ended();
        return other.learnt(order, ending, files);
      },
    };
  }

  /** A run begins. */
  #begun({ config, rows: { dataset } }: Order, plan: Plan): void {
    const { tokens, kept } = plan.dataset;
    const mean = kept > 0 ? tokens / kept : 0;
    const heldout = plan.eval_dataset?.tokens ?? plan.eval_rows * mean;
    const measured = heldout * evaluationsOf(config);
    const began = plan.resumed ? undefined : performance.now();
    this.#run = { way: wayOf(config, plan.checkpointing), millis_per_token: [], tokens: undefined, measured, began };
    if (kept === 0) return;
    const known = this.#known;
    const rows = { ...known.rows, [dataset.name]: { mean, heldout } };
    this.#kept.set({ ...known, rows: Object.fromEntries(Object.entries(rows).slice(-MOST)) });
  }

  /** A step was done. */
  #stepped({ step_millis, num_tokens }: StepLog): void {
    const run = this.#run;
    if (!run) return;
    if (run.tokens !== undefined && num_tokens > run.tokens) run.millis_per_token.push(step_millis / (num_tokens - run.tokens));
    run.tokens = num_tokens;
  }

  /** It came to its end, or was stopped. */
  #ended(): void {
    const run = this.#run;
    this.#run = undefined;
    const computing = this.#computing();
    if (!run || !computing || run.millis_per_token.length === 0) return;
    const { adapter, parameters } = computing;
    const throughput = (parameters * tokenCost(run.way) * 1000) / median(run.millis_per_token);
    const cost = costOf({ parameters, steps: 1, tokens_per_step: run.tokens!, way: run.way, heldout: { tokens: run.measured, times: 1 } });
    const took = run.began === undefined ? 0 : (performance.now() - run.began) / 1000;
    const beside = Math.max(0, took - cost / throughput);
    const pace: Pace = { device: adapter.name, is_processor: adapter.backend === "cpu", parameters, throughput, beside, date: Date.now() };
    const known = this.#known;
    const others = known.paces.filter(({ device, parameters: size }) => device !== pace.device || size !== parameters);
    this.#kept.set({ ...known, paces: [...others, pace].slice(-MOST) });
  }

  get #known(): KeptTiming {
    const { paces, rows } = (this.#kept.get() ?? {}) as Partial<KeptTiming>;
    return { paces: Array.isArray(paces) ? paces : [], rows: typeof rows === "object" && rows !== null ? rows : {} };
  }
}

/** How often a run measures its held-out rows: before its first step, and on the way to its last. */
export function evaluationsOf({ train: { max_steps = 0, eval_steps = max_steps } }: Config): number {
  return 1 + Math.ceil(max_steps / Math.max(1, everySteps(eval_steps, max_steps)));
}

/** After how many steps something is done, where a share of all steps may be meant. */
export function everySteps(steps: number, total_steps: number): number {
  return steps < 1 ? Math.ceil(steps * total_steps) : steps;
}

/** What a machine does now and then beside a run moves a mean, and hardly this. */
function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

export function wayOf(config: Config, checkpointing: boolean): Way {
  const { optim, zo_num_samples: directions = 1 } = config.train;
  return { trains_all: trainsAll(config), is_mezo: optim === "mezo", directions, checkpointing };
}
