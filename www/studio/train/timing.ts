import type { AdapterInfo, Plan, StepLog } from "tabtune";
import { Kept } from "../ui/kept.js";
import type { Order } from "../work/job.js";
import type { Follower } from "../work/run.js";
import type { Config } from "./fields.js";
import { trainsAll } from "./settings.js";
import { tokenCost, type Pace, type Way } from "./time.js";

/** Runs that are remembered; the earliest are forgotten. */
const MOST = 40;

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

/** What computes, and how large a model. */
interface Computing {
  adapter: AdapterInfo;
  parameters: number;
}

/** Remembers how fast this device trains, and how long the rows of a dataset are. */
export class Timing {
  readonly #kept = new Kept<KeptTiming>("tabtune:timing", 1);
  readonly #computing: () => Computing | undefined;
  #run: { way: Way; millis: number; tokens: number; told: number | undefined } | undefined;

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
      event: (event) => other.event(event),
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
    this.#run = { way: wayOf(config, plan.checkpointing), millis: 0, tokens: 0, told: undefined };
    const { tokens, kept } = plan.dataset;
    if (kept === 0) return;
    const mean = tokens / kept;
    const known = this.#known;
    const rows = { ...known.rows, [dataset.name]: { mean, heldout: plan.eval_dataset?.tokens ?? plan.eval_rows * mean } };
    this.#kept.set({ ...known, rows: Object.fromEntries(Object.entries(rows).slice(-MOST)) });
  }

  /** A step was done. The first has more to do than those that follow. */
  #stepped({ step_millis, num_tokens }: StepLog): void {
    const run = this.#run;
    if (!run) return;
    if (run.told !== undefined) {
      run.millis += step_millis;
      run.tokens += num_tokens - run.told;
    }
    run.told = num_tokens;
  }

  /** It came to its end, or was stopped. */
  #ended(): void {
    const run = this.#run;
    this.#run = undefined;
    const computing = this.#computing();
    if (!run || !computing || run.millis === 0 || run.tokens <= 0) return;
    const { adapter, parameters } = computing;
    const throughput = (parameters * run.tokens * tokenCost(run.way) * 1000) / run.millis;
    const pace: Pace = { device: adapter.name, is_processor: adapter.backend === "cpu", parameters, throughput, date: Date.now() };
    const known = this.#known;
    const others = known.paces.filter(({ device, parameters: size }) => device !== pace.device || size !== parameters);
    this.#kept.set({ ...known, paces: [...others, pace].slice(-MOST) });
  }

  get #known(): KeptTiming {
    const { paces, rows } = (this.#kept.get() ?? {}) as Partial<KeptTiming>;
    return { paces: Array.isArray(paces) ? paces : [], rows: typeof rows === "object" && rows !== null ? rows : {} };
  }
}

export function wayOf(config: Config, checkpointing: boolean): Way {
  return { trains_all: trainsAll(config), is_mezo: config.train.optim === "mezo", checkpointing };
}
