import { Client } from "./client.js";
import { withLibrary, type Dataset } from "./dataset.js";
import { cancelled, failure, throwIfAborted } from "./errors.js";
import { folderOf, type Folder, type FolderSource, type HubOptions } from "./files.js";
import { keepLargeDownloads } from "./hub/persist.js";
import { cachedModels } from "./hub/models.js";
import { connectionChange, meteredConnection, policyOf } from "./policy.js";
import { VERSION, type Calls } from "./protocol.js";
import { isOfLostDevice, nameOf, RESTART_SECONDS, Run, type Taken, takenUp, type Told, toldOf, watched } from "./run.js";
import { sleep } from "./sleep.js";
import type {
  AdapterFiles,
  AdapterInfo,
  Counters,
  EvalLog,
  Footprint,
  GenerateOptions,
  GenerateResult,
  Lengths,
  LoraConfig,
  ModelInfo,
  Plan,
  ProgressCallback,
  Prompt,
  QuantizationConfig,
  RunEvent,
  RunPolicy,
  SavedCheckpoint,
  SeenRow,
  StepLog,
  TrainConfig,
} from "./types.js";

/** What {@link Trainer.load} takes beside the model. */
export interface LoadOptions extends HubOptions {
  quantization?: QuantizationConfig;
  lora?: LoraConfig;
  train?: TrainConfig;
  /** A folder with a PEFT adapter to start from; without one, A is random and B is zero. */
  init_adapter?: FolderSource;
  /** Held-out rows for {@link Trainer.evaluate} and `eval_steps`. */
  eval_dataset?: Dataset;
  /**
   * A GPUDevice of the page's own to work on. Devices cannot be sent to workers, so the engine then runs on
   * the page itself, in portions of some 30 ms; the device is not destroyed in the end.
   */
  device?: object;
  /** When models are downloaded, and when runs rest; false leaves both to the caller. */
  policy?: Partial<RunPolicy> | false;
  progress_callback?: ProgressCallback;
  signal?: AbortSignal;
}

/** Options of a run; what is given here goes before `train` of {@link LoadOptions}. */
export interface RunOptions extends TrainConfig {
  /** The name that checkpoints are kept under. Default: that of the dataset; null keeps none. */
  run_name?: string | null;
  /** Go on from the last checkpoint of that name; without one the run begins anew. Default false. */
  resume_from_checkpoint?: boolean;
  /**
   * What to do while another tab has the run of that name: throw `bad-state` (default), wait until it has
   * ended, or, in {@link Trainer.train}, watch its log.
   */
  if_running?: "fail" | "wait" | "watch";
  /** When to rest; false never rests. */
  policy?: Partial<RunPolicy> | false;
  /** Hears what happens to the run besides its steps. */
  on_event?: (event: RunEvent) => void;
  signal?: AbortSignal;
}

/** The parts of {@link RunOptions} that belong to the page, and those that the engine reads. */
function split({ run_name, resume_from_checkpoint = false, if_running = "fail", policy, on_event, signal, ...train }: RunOptions) {
  return { run_name, resume_from_checkpoint, if_running, policy, on_event, signal, train };
}

/** A model in an engine of its own, with an adapter that is trained on it. */
export class Trainer {
  /** The GPU that the worker uses. */
  readonly adapter: AdapterInfo;
  readonly model: ModelInfo;
  /** The run that was prepared last. */
  plan: Plan | undefined;

  #client: Client;
  readonly #folder: Folder;
  readonly #options: LoadOptions;
  readonly #init_adapter: Folder | undefined;
  /** What the run was prepared with, to prepare it again on another device. */
  #prepared: Calls["prepare"]["args"] | undefined;
  #run: Run | undefined;
  #told: Told = toldOf({ step: 0, owes_evaluation: false });
  /** Aborted when the trainer is disposed of. */
  readonly #disposed = new AbortController();
  /** Lets go of the run's name. */
  #release: (() => Promise<void>) | undefined;

  private constructor(client: Client, adapter: AdapterInfo, model: ModelInfo, folder: Folder, options: LoadOptions) {
    this.#client = client;
    this.#folder = folder;
    this.adapter = adapter;
    this.model = model;
    this.#options = options;
    // A revision is the model's own, and the adapter's has other names.
    const { hub, token, cache } = options;
    const from = { ...(hub && { hub }), ...(token && { token }), ...(cache !== undefined && { cache }) };
    this.#init_adapter = options.init_adapter === undefined ? undefined : folderOf(options.init_adapter, from);
  }

  /**
   * Starts a worker and loads a Hugging Face model into it, from a hub by its id, an address, picked
   * files or a directory: config.json, model.safetensors or shards with their index, tokenizer.json and
   * tokenizer_config.json. With `load_in_4bit` the weights are quantised as they stream in. Downloads are
   * cached; one that broke off goes on where it was.
   */
  static async load(model: FolderSource, options: LoadOptions = {}): Promise<Trainer> {
    const { signal, quantization, policy } = options;
    const report = reporter(options.progress_callback);
    const folder = folderOf(model, options);
    if (policy !== false) await unmetered(folder, policyOf(policy), report, signal);
    const load = () =>
      started(signal, options.device, async (client, adapter) => {
        const info = await client.call("load_model", { folder, quantization }, { report });
        return new Trainer(client, adapter, info, folder, options);
      });
    return options.device ? load() : retrying(signal, load);
  }

  /**
   * How many GPU bytes a run would take on this device, by the model's config and the headers of its
   * files alone: no weights are downloaded and nothing is allocated. The rows are taken to be
   * `train.max_length` tokens long; a prepared run's {@link Plan} tells the same of the rows it has.
   */
  static async estimate(
    model: FolderSource,
    options: HubOptions & Pick<LoadOptions, "quantization" | "lora" | "train" | "signal"> = {},
  ): Promise<Footprint> {
    const { signal, quantization, lora, train } = options;
    const args = {
      folder: folderOf(model, options),
      ...(quantization && { quantization }),
      ...(lora && { lora }),
      ...(train && { train }),
    };
    return started(signal, undefined, async (client) => {
      try {
        return await client.call("estimate", args);
      } finally {
        client.terminate();
      }
    });
  }

  /**
   * Tokenises the rows, unless that was done before for this tokenizer and these options, and readies a
   * run from a fresh adapter (or `init_adapter`). Nothing more is allocated once this has returned.
   */
  async prepare(dataset: Dataset, options: RunOptions = {}): Promise<Plan> {
    const { run_name = dataset.name, resume_from_checkpoint, if_running, signal, train } = split(options);
    throwIfAborted(signal);
    const { lora, train: defaults, eval_dataset } = this.#options;
    const args = {
      lora,
      train: { ...defaults, ...train },
      init_adapter: this.#init_adapter,
      dataset: dataset.name,
      eval_dataset: eval_dataset?.name,
      run_name: run_name ?? undefined,
      resume_from_checkpoint,
    };
    await this.#letGo();
    if (run_name !== null) this.#release = await hold(run_name, if_running === "wait", options);
    this.plan = undefined;
    this.#prepared = args;
    const report = reporter(this.#options.progress_callback);
    const attempt = async (tries: number) => {
      if (tries > 0) await this.#reload(signal);
      return this.#client.call("prepare", args, { report, signal });
    };
    try {
      this.plan = this.#options.device ? await attempt(0) : await retrying(signal, attempt);
      this.#told = toldOf(takenUp(this.plan));
    } catch (thrown) {
      await this.#letGo();
      throw thrown;
    }
    return this.plan;
  }

  /** Rows of a dataset as the model will see them, with what is not learnt from marked. */
  preview(dataset: Dataset, options: TrainConfig & { first?: number; count?: number } = {}): Promise<SeenRow[]> {
    const { first = 0, count = 5, ...run } = options;
    const train = { ...this.#options.train, ...run };
    return this.#client.call("preview", { name: dataset.name, train, first, count });
  }

  /** How long the rows of a dataset are for this model, as a histogram, and what is cut. Tokenises them. */
  lengths(dataset: Dataset, options: RunOptions & { bins?: number } = {}): Promise<Lengths> {
    const { bins = 32, ...run } = options;
    const { signal, train: asked } = split(run);
    const train = { ...this.#options.train, ...asked };
    const report = this.#options.progress_callback;
    return this.#client.call("lengths", { name: dataset.name, train, bins }, { report, signal });
  }

  /**
   * Trains, one optimiser step each time the caller asks for the next log. With a dataset a run is prepared
   * first; without one the prepared run goes on where it stands. Held-out losses come in between every
   * `eval_steps`.
   *
   * A run with a name saves checkpoints as it goes, and when the page is hidden. It rests when its policy
   * says so; a GPU that is lost is asked for again, and the run goes on from its last checkpoint without
   * the caller noticing, but for `on_event`. Aborting the signal throws `cancelled` after the step in
   * flight; the adapter stays as that step left it.
   */
  async *train(dataset?: Dataset, options: RunOptions = {}): AsyncGenerator<StepLog | EvalLog, void, undefined> {
    const { run_name, if_running, policy, on_event, signal, train } = split(options);
    const name = run_name === undefined ? dataset?.name : (run_name ?? undefined);
    const is_mine = this.#release !== undefined && this.#prepared?.run_name === name;
    if (dataset && name !== undefined && if_running === "watch" && !is_mine && (await isHeld(name))) {
      yield* watched(name, on_event, signal);
      return;
    }
    if (dataset) await this.prepare(dataset, options);
    else if (Object.keys(train).length > 0) {
      throw failure("bad-option", `${Object.keys(train)[0]}: a run that was prepared keeps its options; pass a dataset to prepare another`);
    }
    if (!this.plan || !this.#prepared) throw failure("bad-state", "no run was prepared: pass a dataset");
    const chosen = policy ?? this.#options.policy;
    const either = signal ? AbortSignal.any([signal, this.#disposed.signal]) : this.#disposed.signal;
    const settings = {
      name: this.#prepared.run_name,
      policy: chosen === false ? undefined : policyOf(chosen),
      on_event,
      signal: either,
      can_restart: this.#options.device === undefined,
      ignores_pressure: this.adapter.is_software && !(chosen && chosen.max_pressure !== undefined),
    };
    const host = {
      step: async (pipelined: boolean) => {
        const log = await this.#client.call("train_step", { pipelined });
        this.#noteSaved(log?.checkpoint);
        return log;
      },
      evaluate: () => this.evaluate(),
      save: async () => {
        const saved = await this.#client.call("save_checkpoint", undefined);
        this.#noteSaved(saved.checkpoint);
        return saved;
      },
      restart: () => this.#restart(either),
    };
    this.#run = new Run(host, settings, this.#told);
    try {
      yield* this.#run.lines();
      // A run at its end writes no more, so its name is free.
      await this.#letGo();
    } finally {
      this.#run = undefined;
    }
  }

  /** Lets the run begin no further step, and saves a checkpoint. */
  async pause(): Promise<void> {
    if (!this.#run) throw failure("bad-state", "no run is going on");
    await this.#run.pause();
  }

  /** Lets a paused run go on. */
  resume(): void {
    this.#run?.resume();
  }

  /** The checkpoints that are kept under a run's name, oldest first. */
  static checkpoints(run_name: string): Promise<SavedCheckpoint[]> {
    return withLibrary((client) => client.call("checkpoints", { run_name }));
  }

  /** Removes the checkpoints of a run. */
  static async forget(run_name: string): Promise<void> {
    const release = await hold(run_name, false, {});
    try {
      await withLibrary((client) => client.call("delete_run", { run_name }));
    } finally {
      await release();
    }
  }

  async #letGo(): Promise<void> {
    const release = this.#release;
    this.#release = undefined;
    await release?.();
  }

  /** Once this run has a checkpoint, it is what a restart goes on from, and not one of a run before it. */
  #noteSaved(checkpoint: StepLog["checkpoint"] | null): void {
    if (checkpoint && !checkpoint.error) this.#prepared!.resume_from_checkpoint = true;
  }

  /** Loads model and run again in a new engine, from the run's last checkpoint if there is one. */
  async #restart(signal: AbortSignal): Promise<Taken> {
    await this.#reload(signal);
    this.plan = await this.#client.call("prepare", this.#prepared!, { signal });
    return takenUp(this.plan);
  }

  /** Loads the model again in a new engine. */
  async #reload(signal: AbortSignal | undefined): Promise<void> {
    this.#client.terminate();
    const { quantization } = this.#options;
    this.#client = await started(signal, undefined, async (client) => {
      await client.call("load_model", { folder: this.#folder, quantization });
      return client;
    });
  }

  /** The loss on the held-out rows with the adapter as it is now. Needs `eval_dataset` or `test_size`, and a prepared run. */
  evaluate(): Promise<EvalLog> {
    return this.#client.call("evaluate", undefined);
  }

  /**
   * Answers a chat, or goes on from a text, piece by piece. A text is taken as it is, without the chat template, so
   * that a model that has none can be asked too. The generator's return value tells how it ended. Aborting the
   * signal throws `cancelled`; leaving the loop early ends the generation too.
   */
  async *generate(
    prompt: Prompt,
    options: GenerateOptions & { signal?: AbortSignal } = {},
  ): AsyncGenerator<string, GenerateResult, undefined> {
    const { signal, ...rest } = options;
    throwIfAborted(signal);
    const left = new AbortController();
    const pieces: string[] = [];
    let wake = () => {};
    let done = false;
    const result = this.#client.call("generate", { prompt, options: rest }, {
      report: (piece) => {
        pieces.push(piece);
        wake();
      },
      signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal,
    });
    const settled = () => {
      done = true;
      wake();
    };
    result.then(settled, settled);
    try {
      while (true) {
        throwIfAborted(signal);
        const piece = pieces.shift();
        if (piece !== undefined) yield piece;
        else if (done) return await result;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      left.abort();
    }
  }

  /** The adapter as PEFT loads it. */
  save(): Promise<AdapterFiles> {
    return this.#client.call("save", undefined);
  }

  /** What the engine holds and has done, for tests and the curious. */
  counters(): Promise<Counters> {
    return this.#client.call("counters", undefined);
  }

  /**
   * Whether there is no engine: after {@link Trainer.dispose}, where a lost GPU was given up, and while it is asked
   * for again. Without a run going on, only loading anew helps.
   */
  get ended(): boolean {
    return this.#client.closed;
  }

  /**
   * Ends a run that is going on, as `cancelled`, frees the GPU and ends the worker. The counters tell what is
   * left on the GPU: nothing. Where the engine had {@link Trainer.ended} before, there are none.
   */
  async dispose(): Promise<Counters | undefined> {
    this.#disposed.abort();
    try {
      return this.ended ? undefined : await this.#client.call("close", undefined);
    } finally {
      this.#client.terminate();
      await this.#letGo();
    }
  }
}

/** Tells the caller, and has the browser keep what took long to download: only a page can ask for that. */
function reporter(callback: ProgressCallback | undefined): ProgressCallback {
  return (event) => {
    keepLargeDownloads(event);
    callback?.(event);
  };
}

/** Does `work` with a fresh engine on a GPU, which is ended if that fails or the signal is aborted. */
async function started<T>(
  signal: AbortSignal | undefined,
  device: object | undefined,
  work: (client: Client, adapter: AdapterInfo) => Promise<T>,
): Promise<T> {
  throwIfAborted(signal);
  const client = device ? await Client.onDevice(device) : Client.inWorker();
  // Loading has no safe point to stop at, so the worker is ended as a whole.
  const stop = () => client.terminate();
  signal?.addEventListener("abort", stop);
  try {
    return await work(client, await client.call("start", { version: VERSION }));
  } catch (thrown) {
    client.terminate();
    throwIfAborted(signal);
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

/** Makes an attempt again, with growing waits, when it fails because the device was lost. */
async function retrying<T>(signal: AbortSignal | undefined, attempt: (tries: number) => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt(tries);
    } catch (thrown) {
      const seconds = RESTART_SECONDS[tries];
      // A GPU that is missing at the very first is not lost.
      const may_return = isOfLostDevice(thrown) && (tries > 0 || thrown.code === "device-lost");
      if (!may_return || seconds === undefined) throw thrown;
      await sleep(seconds, signal);
    }
  }
}

/** Takes a run's name for this trainer; resolves to what lets go of it, which has happened when that resolves. */
async function hold(run_name: string, waits: boolean, { on_event, signal }: RunOptions): Promise<() => Promise<void>> {
  if (waits && (await isHeld(run_name))) {
    on_event?.({ type: "waiting", reason: "running", detail: "another tab has this run", time: Date.now(), step: 0 });
  }
  return new Promise((resolve, reject) => {
    const held = (lock: Lock | null) => {
      if (!lock) throw failure("bad-state", `run "${run_name}" is going on in another tab or trainer`);
      return new Promise<void>((let_go) => {
        resolve(() => {
          let_go();
          return ended;
        });
      });
    };
    const options = waits ? { ...(signal && { signal }) } : { ifAvailable: true };
    const ended: Promise<void> = navigator.locks.request(nameOf(run_name), options, held);
    ended.catch((thrown) => reject(signal?.aborted ? cancelled() : thrown));
  });
}

async function isHeld(run_name: string): Promise<boolean> {
  const { held = [] } = await navigator.locks.query();
  return held.some(({ name, mode }) => name === nameOf(run_name) && mode === "exclusive");
}

/** Waits for a connection that the policy allows a model to be downloaded on, unless it was before. */
async function unmetered(
  folder: Folder,
  policy: RunPolicy,
  report: ProgressCallback,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (policy.allow_metered || (folder.kind !== "hub" && folder.kind !== "url")) return;
  const name = folder.kind === "hub" ? folder.id : folder.base;
  // What this very server has is no download that costs.
  if (folder.kind === "url" && /^(localhost|127\.|\[::1\])/.test(new URL(folder.base).hostname)) return;
  for (let why = meteredConnection(); why !== undefined; why = meteredConnection()) {
    if ((await cachedModels()).some((model) => model.name === name && model.complete)) return;
    report({ status: "waiting", name, file: "", detail: why });
    await Promise.race([connectionChange(), aborted(signal)]);
    throwIfAborted(signal);
  }
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
}
