import { DEFAULT_ADAPTER, EngineAdapters, type Adapters } from "./adapters.js";
import type { Client } from "./client.js";
import { Dataset } from "./dataset.js";
import { ended, EngineGone, failure, TabtuneError, throwIfAborted } from "./errors.js";
import type { CompanionOptions } from "./evaluation/companion.js";
import type { Companion, EvaluationHost } from "./evaluation/host.js";
import type { EvaluateOptions, Evaluation, Forgetting, ForgettingOptions, RunOutcome, SampleGrid } from "./evaluation/types.js";
import { download } from "./export/download.js";
import { figure } from "./figures.js";
import { adapterFolder, folderOf, type Folder, type FolderSource, type HubOptions } from "./files.js";
import { holdStore, reporter } from "./hub/persist.js";
import { evaluation, PAGE } from "./lazy.js";
import { hold, isHeld } from "./lock.js";
import { checkDataset, checkDevice, checkOptions, checkRunOptions, checkSave, COMPARE, ESTIMATE, EXPORT_RUN, IMPORT_RUN, LOAD, present } from "./options.js";
import { policyOf } from "./policy.js";
import { VERSION, type Calls } from "./protocol.js";
import { onRenamed, type Renamed } from "./renames.js";
import { ROUNDS, type RoundsHost, type StepsOptions } from "./rounds.js";
import { Run, type RunHost, type RunSettings, takenUp, takeUp, type Told, toldOf, watched } from "./run.js";
import { stored, withShared } from "./shared.js";
import { aborted, affordable, retrying, started, unmetered } from "./start.js";
import { streamOf, type Stream } from "./stream.js";
import type {
  AdapterFiles,
  AdapterInfo,
  ComparedWay,
  Counters,
  DeviceName,
  EvalLog,
  Exported,
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
  SaveOptions,
  SeenRow,
  StepLog,
  TrainConfig,
} from "./types.js";

/** What {@link Trainer.load} takes beside the model. */
export interface LoadOptions extends HubOptions {
  quantization?: QuantizationConfig;
  lora?: LoraConfig;
  train?: TrainConfig;
  /**
   * A PEFT adapter to answer with and to start runs from: a folder, or what {@link Trainer.save} gave. Without one
   * A is random and B is zero when a run begins.
   */
  init_adapter?: FolderSource | AdapterFiles;
  /** What saved adapters call the model. Default: its hub id, its address or the name of its folder. */
  base_model_name_or_path?: string;
  /** Held-out rows for {@link Trainer.evaluate} and `eval_steps`. */
  eval_dataset?: Dataset;
  /**
   * What computes: "auto" (the default) takes WebGPU where there is a real GPU and the processor elsewhere, and the
   * `hint` of {@link Trainer.adapter} tells why. "webgpu" and "cpu" (the processor) take what they name. Or a GPUDevice of
   * the page's own to work on. Devices cannot be sent to workers, so the engine then runs on the page itself, in portions
   * of some 30 ms; the device is not destroyed in the end.
   */
  device?: DeviceName | object;
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
   * Let a run that begins anew replace the checkpoints of another one under its name: of other rows, another model or
   * other options. Default false, which throws `bad-state`.
   */
  overwrite?: boolean;
  /**
   * Go on with a run that another kind of device began, WebGPU or the processor with its instructions: the last bits
   * are then others than those that it would have had. Default false, which throws `bad-state`.
   */
  resume_on_other_device?: boolean;
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
  /**
   * Prompts that are answered before the first step, every `sample_steps` and at the end, each time with the likeliest words, so
   * that one sees what becomes of the answers. The event "sampled" tells them, and {@link Trainer.samples} all that were kept.
   */
  sample_prompts?: Prompt[];
  /** Answer them after every so many steps; below 1, after that share of all steps. Left out: before and after the run alone. */
  sample_steps?: number;
  /** How long such an answer may be, in tokens. Default 64. */
  sample_max_new_tokens?: number;
  /**
   * End the run after so many evaluations without progress, by `metric_for_best_model`. Needs `eval_steps`. transformers'
   * EarlyStoppingCallback. Left out: all steps are made.
   */
  early_stopping_patience?: number;
  /** How much better than the best one an evaluation has to be to count as progress. Default 0: any progress does. */
  early_stopping_threshold?: number;
}

/** The parts of {@link RunOptions} that belong to the page, and those that the engine reads. */
function split(options: RunOptions) {
  const { run_name, resume_from_checkpoint, overwrite, resume_on_other_device, if_running, policy, on_event, signal, ...rest } =
    options;
  const extras: CompanionOptions = {};
  const train: TrainConfig = {};
  for (const [name, value] of Object.entries(rest)) Object.assign(EXTRA.test(name) ? extras : train, { [name]: value });
  return {
    run_name,
    resume_from_checkpoint: resume_from_checkpoint ?? false,
    overwrite: overwrite ?? false,
    resume_on_other_device: resume_on_other_device ?? false,
    if_running: if_running ?? "fail",
    policy,
    on_event,
    signal: signal ?? undefined,
    extras,
    train,
  };
}

/** Names of options for what goes along with a run: samples, and its end before the last step. */
const EXTRA = /^(sample|early_stopping)_/;

/** How adapters are taken from a hub: a revision is the model's own. */
function adapterHub({ hub, token, cache }: HubOptions): HubOptions {
  return { ...(hub && { hub }), ...(token && { token }), ...(cache !== undefined && { cache }) };
}

/** A model in an engine of its own, which is trained, or an adapter on it. */
export class Trainer {
  /** The GPU or processor that computes. */
  readonly adapter: AdapterInfo;
  readonly model: ModelInfo;
  /** LoRA adapters beside the run's own: loaded, switched and taken off without loading the model again. */
  readonly adapters: Adapters;
  /** The run that was prepared last. */
  plan: Plan | undefined;

  #client: Client;
  readonly #folder: Folder;
  readonly #options: LoadOptions;
  readonly #adapters: EngineAdapters;
  /** What the run was prepared with, to prepare it again on another device. */
  #prepared: Calls["prepare"]["args"] | undefined;
  #run: Run | undefined;
  /** What the prepared run does beside its steps. */
  #companion: Companion | undefined;
  /** The start of another engine that is under way. */
  #starting: Promise<void> | undefined;
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
    this.#adapters = new EngineAdapters({
      engine: () => this.#engine(),
      is_running: () => this.#run !== undefined,
      giveUpRun: () => this.#giveUpRun(),
      report: reporter(options.progress_callback),
      hub: adapterHub(options),
    });
    this.adapters = this.#adapters;
    this.#listen();
  }

  /**
   * Starts a worker and loads a Hugging Face model into it, from a hub by its id, an address, picked
   * files or a directory: config.json, model.safetensors or shards with their index, tokenizer.json and
   * tokenizer_config.json. With `load_in_4bit` the weights are quantised as they stream in. Downloads are
   * cached; one that broke off goes on where it was.
   */
  static async load(model: FolderSource, options: LoadOptions = {}): Promise<Trainer> {
    checkOptions("Trainer.load", options, LOAD);
    options = present(options);
    const { signal, policy, init_adapter, eval_dataset } = options;
    if (eval_dataset !== undefined) checkDataset("eval_dataset", eval_dataset);
    checkDevice(options.device);
    const report = reporter(options.progress_callback);
    const folder = folderOf(model, options);
    holdStore(folder);
    const initial = init_adapter === undefined ? undefined : adapterFolder(init_adapter, adapterHub(options));
    const chosen = policy === false ? undefined : policyOf(policy);
    if (chosen) await unmetered(folder, chosen, report, signal);
    const load = () =>
      started(signal, options.device, async (client, adapter) => {
        const info = await client.call("load_model", modelOf(folder, options), { report });
        const trainer = new Trainer(client, adapter, info, folder, options);
        if (initial) await trainer.#adapters.loadInto(client, DEFAULT_ADAPTER, initial);
        onRenamed((renamed) => void trainer.#follow(renamed), trainer.#disposed.signal);
        return trainer;
      });
    return typeof options.device === "object" ? load() : retrying(signal, load);
  }

  /**
   * How many bytes a run would take on the device, by the model's config and the headers of its files alone: no
   * weights are downloaded and nothing is allocated. The rows are taken to be `train.max_length` tokens long; a prepared
   * run's {@link Plan} tells the same of the rows it has.
   */
  static async estimate(
    model: FolderSource,
    options: HubOptions & Pick<LoadOptions, "quantization" | "lora" | "train" | "device" | "signal"> = {},
  ): Promise<Footprint> {
    checkOptions("Trainer.estimate", options, ESTIMATE);
    options = present(options);
    const { quantization, lora, train } = options;
    return figure("estimate", model, options, { quantization, lora, train });
  }

  /**
   * What each way to train would take of this model, as {@link Trainer.estimate} tells it, or why it cannot be trained so.
   * The lengths, the rank and whatever else counts are those of `train` and `lora`.
   */
  static async compare(
    model: FolderSource,
    options: HubOptions & Pick<LoadOptions, "lora" | "train" | "device" | "signal"> = {},
  ): Promise<ComparedWay[]> {
    checkOptions("Trainer.compare", options, COMPARE);
    options = present(options);
    const { lora = {}, train = {} } = options;
    return figure("compare", model, options, { lora, train });
  }

  /**
   * Tokenises the rows, unless that was done before for this tokenizer and these options, and readies a
   * run from a fresh adapter, from the one that is called "default", or of all weights. Nothing more is allocated once this has
   * returned. Where it throws for what it was given, a run that was prepared before is still there.
   */
  async prepare(dataset: Dataset, options: RunOptions = {}): Promise<Plan> {
    checkDataset("the first argument of prepare", dataset);
    checkRunOptions("prepare", options);
    return this.#prepare(dataset, this.#options.eval_dataset, options);
  }

  async #prepare(dataset: Dataset, eval_dataset: Dataset | undefined, options: RunOptions): Promise<Plan> {
    const { run_name = dataset.name, if_running, signal, train, extras, ...resuming } = split(options);
    throwIfAborted(signal);
    const { lora, train: defaults } = this.#options;
    const args = {
      lora,
      train: { ...defaults, ...train },
      dataset: dataset.name,
      eval_dataset: eval_dataset?.name,
      run_name: run_name ?? undefined,
      resume_from_checkpoint: resuming.resume_from_checkpoint,
      overwrite: resuming.overwrite,
      resume_on_other_device: resuming.resume_on_other_device,
    };
    const asks = [...Object.values(extras), args.train.load_best_model_at_end, args.train.metric_for_best_model].some(Boolean);
    const accompany = asks ? await (await evaluation()).accompanied(PAGE, extras, args) : undefined;
    const is_mine = this.#release !== undefined && this.#prepared?.run_name === run_name;
    const release = run_name === null || is_mine ? undefined : await hold(run_name, if_running === "wait", options);
    const report = reporter(this.#options.progress_callback);
    const attempt = async (tries: number) => {
      await this.#settled(signal);
      if (tries > 0 || this.ended) await this.#start(() => this.#reload(signal));
      return this.#client.call("prepare", args, { report, signal });
    };
    let plan: Plan;
    try {
      plan = this.#has_own_device ? await attempt(0) : await retrying(signal, attempt);
    } catch (thrown) {
      await release?.();
      await this.#giveUpLostRun();
      throw thrown;
    }
    if (!is_mine) {
      await this.#letGo();
      this.#release = release;
    }
    this.plan = plan;
    this.#prepared = args;
    this.#companion = accompany?.(plan);
    this.#told = toldOf(takenUp(plan));
    await this.#adapters.refresh(this.#client);
    return plan;
  }

  /** Rows of a dataset as the model will see them, with what is not learnt from marked. */
  async preview(dataset: Dataset, options: RunOptions & { first?: number; count?: number } = {}): Promise<SeenRow[]> {
    checkDataset("the first argument of preview", dataset);
    checkRunOptions("preview", options, { first: "any", count: "any" });
    const { first = 0, count = 5, ...run } = options;
    const { signal, train: asked } = split(run);
    const train = { ...this.#options.train, ...asked };
    return (await this.#engine(signal)).call("preview", { name: dataset.name, train, first, count }, { signal });
  }

  /** How long the rows of a dataset are for this model, as a histogram, and what is cut. Tokenises them. */
  async lengths(dataset: Dataset, options: RunOptions & { bins?: number } = {}): Promise<Lengths> {
    checkDataset("the first argument of lengths", dataset);
    checkRunOptions("lengths", options, { bins: "any" });
    const { bins = 32, ...run } = options;
    const { signal, train: asked } = split(run);
    const train = { ...this.#options.train, ...asked };
    const report = this.#options.progress_callback;
    return (await this.#engine(signal)).call("lengths", { name: dataset.name, train, bins }, { report, signal });
  }

  /**
   * Trains, one optimiser step each time the caller asks for the next log; awaited as it is, to the end, with all
   * logs as its result. With a dataset a run is prepared first; without one the prepared run goes on where it
   * stands. Held-out losses come in between every `eval_steps`.
   *
   * A run with a name saves checkpoints as it goes, and when the page is hidden. It rests when its policy
   * says so; a device or a worker that is lost is asked for again, and the run goes on from its last checkpoint without
   * the caller noticing, but for `on_event`. Aborting the signal throws `cancelled` after the step in
   * flight; the adapter stays as that step left it. An engine that does not answer then is ended after some
   * seconds, and the next call goes on from the last checkpoint in another one.
   */
  train(dataset?: Dataset, options: RunOptions = {}): Stream<StepLog | EvalLog, void, (StepLog | EvalLog)[]> {
    return streamOf(this.#train(dataset, options), (logs) => logs);
  }

  async *#train(dataset: Dataset | undefined, options: RunOptions): AsyncGenerator<StepLog | EvalLog, void, undefined> {
    if (dataset !== undefined) checkDataset("the first argument of train", dataset);
    checkRunOptions("train", options);
    const { run_name, if_running, policy, on_event, signal, train, extras } = split(options);
    const name = run_name === undefined ? dataset?.name : (run_name ?? undefined);
    const is_mine = this.#release !== undefined && this.#prepared?.run_name === name;
    if (dataset && name !== undefined && if_running === "watch" && !is_mine && (await isHeld(name))) {
      yield* watched(name, on_event, signal);
      return;
    }
    const settings = this.#settings({ policy, on_event, signal });
    if (dataset) await this.prepare(dataset, options);
    const [kept] = Object.entries({ ...train, ...extras }).find(([, option]) => option !== undefined) ?? [];
    if (!dataset && kept !== undefined) {
      throw failure("bad-option", `${kept}: a run that was prepared keeps its options; pass a dataset to prepare another`);
    }
    yield* this.#lines(settings);
    // A run at its end writes no more, so its name is free.
    await this.#letGo();
  }

  /** The lines of the prepared run, up to step `end` where one is said. */
  async *#lines(
    settings: Omit<RunSettings, "name" | "companion"> & { signal: AbortSignal },
    end?: number,
  ): AsyncGenerator<StepLog | EvalLog, void, undefined> {
    if (!this.plan || !this.#prepared) throw failure("bad-state", "no run was prepared: pass a dataset");
    await this.#engine(settings.signal, { may_begin_anew: true });
    const more = { name: this.#prepared.run_name, companion: this.#companion };
    this.#run = new Run(this.#hostOf(settings.signal, end), { ...settings, ...more }, this.#told);
    try {
      yield* this.#run.lines();
    } finally {
      this.#run = undefined;
    }
  }

  /** How a run of this trainer behaves. */
  #settings({ policy, on_event, signal }: Partial<StepsOptions>) {
    const chosen = policy ?? this.#options.policy;
    return {
      policy: chosen === false ? undefined : policyOf(chosen),
      on_event,
      signal: signal ? AbortSignal.any([signal, this.#disposed.signal]) : this.#disposed.signal,
      can_restart: !this.#has_own_device,
      ignores_pressure: this.adapter.is_software && !(chosen && chosen.max_pressure !== undefined),
    };
  }

  /** What rounds of learning together have of this trainer; see `tabtune/federated`. */
  [ROUNDS](): RoundsHost {
    const { lora } = this.#options;
    return {
      version: VERSION,
      base: this.#options.base_model_name_or_path ?? (this.#folder.kind === "hub" ? this.#folder.id : undefined),
      lora,
      check: checkOptions,
      checkDataset,
      prepare: (dataset, eval_dataset, options) => this.#prepare(dataset, eval_dataset, options),
      ask: async (call, args, options = {}) => (await this.#engine(options.signal)).call(call, args, options),
      steps: (end, options: StepsOptions) => this.#lines(this.#settings(options), end),
      end: () => this.#letGo(),
      begunAt: (step) => (this.#told = toldOf({ step, owes_evaluation: false })),
      unmetered: async (address, policy, on_wait, signal) => {
        const { policy: chosen } = this.#settings({ policy, signal });
        if (chosen) await affordable(address, chosen, on_wait, signal);
      },
    };
  }

  /** What the loop of a run asks of this trainer. */
  #hostOf(signal: AbortSignal, end: number | undefined): RunHost {
    const ask: RunHost["ask"] = async (call, args) => {
      await this.#settled(signal);
      return this.#client.call(call, args, { signal });
    };
    return {
      ask,
      active: () => this.#adapters.active,
      step: async (pipelined) => {
        await this.#settled(signal);
        const log = await this.#client.call("train_step", { pipelined, end }, { signal });
        this.#noteSaved(log?.checkpoint);
        return log;
      },
      evaluate: () => ask("evaluate", undefined),
      save: async () => {
        await this.#settled(signal);
        // An engine that answers saves all the same; one that hangs ends when the caller wants to stop.
        const saved = await this.#client.call("save_checkpoint", undefined, signal.aborted ? { hurries: true } : { signal });
        this.#noteSaved(saved.checkpoint);
        return saved;
      },
      restart: async () => {
        if (this.#starting) await this.#settled(signal);
        else this.#client.terminate(gone());
        if (this.ended) await this.#start(() => this.#revive(signal));
        if (!this.plan) throw failure("bad-state", "the run is no longer prepared: pass a dataset");
        return takenUp(this.plan);
      },
    };
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
    return stored("checkpoints", { run_name });
  }

  /** Removes the checkpoints of a run, and what its prompts were answered. */
  static async forget(run_name: string): Promise<void> {
    const release = await hold(run_name, false, {});
    try {
      await stored("delete_run", { run_name });
    } finally {
      await release();
    }
  }

  /**
   * The last whole checkpoint of a run as bytes, with its log and what its prompts were answered, and that of its best
   * evaluation, where one is kept: {@link Trainer.import_run} takes it in elsewhere. A run of all weights has as many bytes as
   * its weights and the optimiser's memory of them; they are read in pieces, and a Blob need not be in memory. A run that is
   * going on may change meanwhile, which throws `bad-state`.
   */
  static async export_run(
    run_name: string,
    options: Pick<LoadOptions, "progress_callback" | "signal"> = {},
  ): Promise<Blob> {
    checkOptions("Trainer.export_run", options, EXPORT_RUN);
    const { progress_callback: report, signal } = present(options);
    return withShared((client) => client.call("export_run", { run_name }, { report, signal }));
  }

  /**
   * Keeps a run under a name that {@link Trainer.export_run} took out, so that `resume_from_checkpoint` goes on with it, to the
   * same bits on the same kind of device: with the same model, options and rows as there. What is found in it is checked as
   * what lies in the browser's storage is, and damaged bytes throw `bad-data`. Checkpoints of that name are replaced only with
   * `overwrite`, and not before all bytes are there and whole. Tells of the checkpoint that the run goes on from.
   */
  static async import_run(
    run_name: string,
    bytes: Blob | Uint8Array,
    options: Pick<LoadOptions, "progress_callback" | "signal"> & Pick<RunOptions, "overwrite"> = {},
  ): Promise<SavedCheckpoint> {
    checkOptions("Trainer.import_run", options, IMPORT_RUN);
    if (!run_name) throw failure("bad-option", "a run needs a name");
    const { progress_callback: report, signal, overwrite = false } = present(options);
    const blob = bytes instanceof Blob ? bytes : new Blob([bytes as Uint8Array<ArrayBuffer>]);
    const release = await hold(run_name, false, {});
    try {
      const args = { run_name, bytes: blob, overwrite };
      return await withShared((client) => client.call("import_run", args, { report, signal }));
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

  /** The run is no longer prepared. */
  async #giveUpRun(): Promise<void> {
    this.plan = undefined;
    this.#prepared = undefined;
    this.#companion = undefined;
    await this.#letGo();
  }

  /** After a preparation that failed: the run before it is there, unless the engine had begun to make room. */
  async #giveUpLostRun(): Promise<void> {
    // What a new engine starts with is known without asking: the run before, from its checkpoint.
    if (this.ended || !this.#prepared) return;
    const { has_run } = await this.#adapters.refresh(this.#client);
    if (!has_run) await this.#giveUpRun();
  }

  /** The engine. One that died, or was ended because it did not answer, is replaced with all that it held. */
  async #engine(signal?: AbortSignal, options: { may_begin_anew?: boolean } = {}): Promise<Client> {
    while (true) {
      this.#checkLife();
      throwIfAborted(signal);
      try {
        if (this.#starting) await Promise.race([this.#starting, aborted(signal)]);
        else if (this.ended && !this.#run?.is_restarting) await this.#start(() => this.#takeUp(signal, options));
        else return this.#client;
      } catch (thrown) {
        // Whoever began the start that this call shares may have stopped it.
        const is_others = thrown instanceof TabtuneError && thrown.code === "cancelled" && !signal?.aborted;
        if (!is_others) throw thrown;
      }
    }
  }

  /** A device of the page's own dies with its engine. */
  get #has_own_device(): boolean {
    return typeof this.#options.device === "object";
  }

  /** What another engine is started on: a run does not go on elsewhere because its GPU is away for a moment. */
  get #device(): DeviceName | object {
    const { device = "auto" } = this.#options;
    if (device !== "auto") return device;
    return this.adapter.backend === "cpu" ? "cpu" : "webgpu";
  }

  /** Throws where there is no engine and another one must not be started. */
  #checkLife(): void {
    if (this.#disposed.signal.aborted || (this.ended && this.#has_own_device)) throw ended();
  }

  /** One engine is started at a time; who needs one meanwhile waits for it. */
  #start(start: () => Promise<void>): Promise<void> {
    return (this.#starting ??= start().finally(() => (this.#starting = undefined)));
  }

  /** Waits while another engine is started, whatever becomes of that. */
  async #settled(signal: AbortSignal | undefined): Promise<void> {
    while (this.#starting) {
      await Promise.race([this.#starting.catch(() => {}), aborted(signal)]);
      throwIfAborted(signal);
    }
  }

  /** Revives the engine, and throws where what a run had learnt is lost: its fresh adapter must not be taken for it. */
  async #takeUp(signal: AbortSignal | undefined, { may_begin_anew = false }: { may_begin_anew?: boolean }): Promise<void> {
    await this.#revive(signal);
    const is_lost = this.plan !== undefined && this.#told.last > 0 && takenUp(this.plan).step === 0;
    if (!is_lost || may_begin_anew) return;
    // A run that is under way makes its steps again.
    if (!this.#run) {
      await this.#giveUpRun();
      await this.#adapters.dropRun(this.#client);
      await this.#adapters.activate(this.#client);
    }
    throw failure("bad-state", "what the run had learnt went with its engine: no checkpoint of it was saved");
  }

  /** Loads the model in a new engine, and its adapters and the run from its last checkpoint, if there is one. */
  async #revive(signal: AbortSignal | undefined): Promise<void> {
    await this.#reload(signal);
    try {
      if (this.#prepared) {
        this.plan = await this.#client.call("prepare", this.#prepared, { signal });
        takeUp(this.#told, takenUp(this.plan));
        if (this.outcome?.is_best_loaded) await this.#client.call("load_best", undefined);
      }
      await this.#adapters.activate(this.#client);
    } catch (thrown) {
      // An engine without the run must not be taken for one with it.
      this.#client.terminate(gone());
      throw thrown;
    }
  }

  /** Loads the model and adapters again in a new engine. */
  async #reload(signal: AbortSignal | undefined): Promise<void> {
    this.#checkLife();
    const disposed = this.#disposed.signal;
    this.#client.terminate(gone());
    const stop = signal ? AbortSignal.any([signal, disposed]) : disposed;
    const client = await started(stop, this.#device, async (client) => {
      await client.call("load_model", modelOf(this.#folder, this.#options));
      await this.#adapters.restore(client);
      return client;
    });
    if (disposed.aborted) {
      client.terminate();
      throw ended();
    }
    this.#client = client;
    this.#listen();
  }

  /** Another engine, or the next run, would look for rows under the name that they had. */
  async #follow({ from, to }: Renamed): Promise<void> {
    const prepared = this.#prepared;
    if (prepared?.dataset === from) prepared.dataset = to;
    if (prepared?.eval_dataset === from) prepared.eval_dataset = to;
    if (this.#options.eval_dataset?.name === from) this.#options.eval_dataset = await Dataset.open(to);
  }

  /** Hears of an engine that does not answer. */
  #listen(): void {
    this.#client.onsilent = (seconds) => this.#run?.silent(seconds);
  }

  /** The loss on the held-out rows with what learns as it is now. Needs `eval_dataset` or `test_size`, and a prepared run. */
  async evaluate(options?: { signal?: AbortSignal }): Promise<EvalLog>;
  /**
   * Whether what was learnt makes the model better on rows that it did not learn from: numbers of the model as it was loaded
   * and as it is now, their differences with the intervals that hold them with a confidence of 95 %, and the verdict of each.
   * Texts, chats and completions are judged by how likely they are, preference pairs by how they are ranked, and questions
   * by what is answered: rows with an `answer`, or any with `metrics`. A row that fails is told in `failed`.
   */
  async evaluate(rows: Dataset | readonly object[], options?: EvaluateOptions): Promise<Evaluation>;
  async evaluate(
    given: Dataset | readonly object[] | { signal?: AbortSignal } = {},
    options: EvaluateOptions = {},
  ): Promise<EvalLog | Evaluation> {
    if (Array.isArray(given) || "name" in Object(given)) {
      return (await evaluation()).evaluateRows(await this.#judging(options?.signal), given as Dataset, options);
    }
    checkOptions("evaluate", given, { signal: "signal" });
    const { signal } = given as EvaluateOptions;
    return (await this.#engine(signal)).call("evaluate", undefined, { signal });
  }

  /**
   * Whether the model has forgotten what it knew: the perplexity of a text that has nothing to do with what it learnt, before
   * and after. The text is English; for a model of other languages, pass some of theirs.
   */
  async forgetting(options: ForgettingOptions = {}): Promise<Forgetting> {
    return (await evaluation()).forgettingOf(await this.#judging(options?.signal), options);
  }

  /** What an evaluation asks of this trainer. */
  async #judging(signal: AbortSignal | undefined): Promise<EvaluationHost> {
    // Only an engine that is there has an active adapter.
    await this.#engine(signal);
    return {
      ask: async (call, args, report) => (await this.#engine(signal)).call(call, args, { report, signal }),
      ...PAGE,
      train: this.#prepared?.train ?? this.#options.train,
      learnt: this.#prepared?.dataset,
      active: this.#adapters.active,
      report: reporter(this.#options.progress_callback),
      signal,
    };
  }

  /** What a run's `sample_prompts` were answered as it went: of the run that was prepared, or of one by its name. */
  async samples(run_name?: string): Promise<SampleGrid> {
    const mine = this.#prepared?.run_name;
    const name = run_name ?? mine;
    const known = name === mine ? this.#companion?.sampled : undefined;
    return (await evaluation()).gridOf(known ?? (name === undefined ? [] : await stored("samples", { run_name: name })));
  }

  /**
   * How the run ended that was trained last, and what its best evaluation was, where `early_stopping_patience`,
   * `load_best_model_at_end`, `metric_for_best_model` or `sample_prompts` was among its options.
   */
  get outcome(): RunOutcome | undefined {
    return this.#companion?.outcome;
  }

  /**
   * Answers a chat, or goes on from a text, piece by piece. A text is taken as it is, without the chat template, so
   * that a model that has none can be asked too. With `continue_final_message` an answer that was cut off goes on. The
   * generator's return value tells how it ended, and it is what awaiting it as it is gives. Aborting the signal
   * throws `cancelled`; leaving the loop early ends the generation too.
   */
  generate(
    prompt: Prompt,
    options: GenerateOptions & { signal?: AbortSignal } = {},
  ): Stream<string, GenerateResult, GenerateResult> {
    return streamOf(this.#generate(prompt, options), (_pieces, result) => result);
  }

  async *#generate(
    prompt: Prompt,
    options: GenerateOptions & { signal?: AbortSignal },
  ): AsyncGenerator<string, GenerateResult, undefined> {
    const { signal, ...rest } = options;
    throwIfAborted(signal);
    const client = await this.#engine(signal);
    const left = new AbortController();
    const pieces: string[] = [];
    let wake = () => {};
    let done = false;
    const result = client.call("generate", { prompt, options: rest }, {
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

  /**
   * An adapter as PEFT loads it: the active one where none is named, and the run's own where it is off. A run of all weights has
   * none, which throws `bad-state`: a model is too large to be handed over in memory, so it needs a place to be written to.
   */
  async save(name?: string): Promise<AdapterFiles>;
  /**
   * Writes the model with the adapter merged into it, the adapter, or the model that a run of all weights made, as other programs
   * read it. The sum is made of the model's own files, never of what was quantised, so these are read once more: a model from
   * a hub comes from the browser's cache.
   */
  async save(options: SaveOptions): Promise<Exported>;
  async save(given?: string | SaveOptions): Promise<AdapterFiles | Exported> {
    if (typeof given !== "object") return (await this.#engine()).call("save", { name: given });
    checkSave(given);
    const { to, adapter: name, signal, progress_callback: report, ...options } = given;
    const folder = typeof to === "string" ? undefined : to;
    const args = { folder: this.#folder, to: folder, options: { ...options, name } };
    const exported = await (await this.#engine(signal)).call("export", args, { report, signal });
    if (to === "download") await download(exported.folder, exported.files);
    return exported;
  }

  /** What the engine holds and has done, for tests and the curious. */
  async counters(): Promise<Counters> {
    return (await this.#engine()).call("counters", undefined);
  }

  /**
   * Whether there is no engine: after {@link Trainer.dispose}, where a lost device was given up, where an engine did not
   * answer and was ended, and while another is asked for. Unless it was disposed of, the next call starts another one,
   * which goes on from the run's last checkpoint. Where a run had made steps and saved none, that call throws
   * `bad-state`, and the run is no longer prepared; only {@link Trainer.train} begins it anew.
   */
  get ended(): boolean {
    return this.#client.closed;
  }

  /**
   * Ends a run that is going on, as `cancelled`, frees the device and ends the worker, which is waited for some seconds
   * where it does not answer. The counters tell what is left on the device: nothing but what the workers of a processor
   * compute in. Where the engine had {@link Trainer.ended} before, or did not answer, there are none.
   */
  async dispose(): Promise<Counters | undefined> {
    this.#disposed.abort();
    try {
      return this.ended ? undefined : await this.#client.call("close", undefined, { hurries: true });
    } catch (thrown) {
      // Whatever the engine's state was, it ends here.
      if (this.ended) return undefined;
      throw thrown;
    } finally {
      this.#client.terminate();
      await this.#letGo();
    }
  }
}

/** What calls are told of an engine that another one is to replace. */
function gone(): EngineGone {
  return new EngineGone("the engine has ended, and another one is not there yet");
}

/** What an engine loads a model from. */
function modelOf(folder: Folder, options: LoadOptions): Calls["load_model"]["args"] {
  const { quantization, lora, train, base_model_name_or_path: base } = options;
  return { folder, quantization, lora, train, base };
}
