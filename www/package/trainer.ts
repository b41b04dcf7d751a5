import { Client } from "./client.js";
import type { Dataset } from "./dataset.js";
import { failure, throwIfAborted } from "./errors.js";
import { folderOf, type Folder, type FolderSource, type HubOptions } from "./files.js";
import { keepLargeDownloads } from "./hub/persist.js";
import { VERSION } from "./protocol.js";
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
  Message,
  ModelInfo,
  Plan,
  ProgressCallback,
  QuantizationConfig,
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
  progress_callback?: ProgressCallback;
  signal?: AbortSignal;
}

/** Options of a run; what is given here goes before `train` of {@link LoadOptions}. */
export interface RunOptions extends TrainConfig {
  signal?: AbortSignal;
}

/** A model in an engine of its own, with an adapter that is trained on it. */
export class Trainer {
  /** The GPU that the worker uses. */
  readonly adapter: AdapterInfo;
  readonly model: ModelInfo;
  /** The run that was prepared last. */
  plan: Plan | undefined;

  readonly #client: Client;
  readonly #options: LoadOptions;
  readonly #init_adapter: Folder | undefined;

  private constructor(client: Client, adapter: AdapterInfo, model: ModelInfo, options: LoadOptions) {
    this.#client = client;
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
    const { signal, quantization } = options;
    const report = reporter(options.progress_callback);
    const folder = folderOf(model, options);
    return started(signal, options.device, async (client, adapter) => {
      const info = await client.call("load_model", { folder, quantization }, { report });
      return new Trainer(client, adapter, info, options);
    });
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
    const { signal, ...run } = options;
    throwIfAborted(signal);
    const { lora, train: defaults, eval_dataset } = this.#options;
    const report = reporter(this.#options.progress_callback);
    const train: TrainConfig = { ...defaults, ...run };
    const args = {
      lora,
      train,
      init_adapter: this.#init_adapter,
      dataset: dataset.name,
      eval_dataset: eval_dataset?.name,
    };
    this.plan = undefined;
    this.plan = await this.#client.call("prepare", args, { report, signal });
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
    const { bins = 32, signal, ...run } = options;
    const train = { ...this.#options.train, ...run };
    const report = this.#options.progress_callback;
    return this.#client.call("lengths", { name: dataset.name, train, bins }, { report, signal });
  }

  /**
   * Trains, one optimiser step each time the caller asks for the next log; not asking pauses. With a
   * dataset a run is prepared first; without one the prepared run goes on where it stands. Held-out
   * losses come in between every `eval_steps`. Aborting the signal throws `cancelled` after the step
   * in flight; the adapter stays as that step left it.
   */
  async *train(dataset?: Dataset, options: RunOptions = {}): AsyncGenerator<StepLog | EvalLog, void, undefined> {
    if (dataset) await this.prepare(dataset, options);
    if (!this.plan) throw failure("bad-state", "no run was prepared: pass a dataset");
    while (true) {
      throwIfAborted(options.signal);
      const log = await this.#client.call("train_step", undefined);
      if (!log) return;
      yield log;
      if (log.eval_due) {
        throwIfAborted(options.signal);
        yield await this.evaluate();
      }
    }
  }

  /** The loss on the held-out rows with the adapter as it is now. Needs `eval_dataset` and a prepared run. */
  evaluate(): Promise<EvalLog> {
    return this.#client.call("evaluate", undefined);
  }

  /**
   * Answers a chat, piece by piece; the generator's return value tells how it ended. Aborting the
   * signal throws `cancelled`; leaving the loop early ends the generation too.
   */
  async *generate(
    messages: Message[],
    options: GenerateOptions & { signal?: AbortSignal } = {},
  ): AsyncGenerator<string, GenerateResult, undefined> {
    const { signal, ...rest } = options;
    throwIfAborted(signal);
    const left = new AbortController();
    const pieces: string[] = [];
    let wake = () => {};
    let done = false;
    const result = this.#client.call("generate", { messages, options: rest }, {
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

  /** Frees the GPU and ends the worker. The counters tell what is left on the GPU: nothing. */
  async dispose(): Promise<Counters> {
    try {
      return await this.#client.call("close", undefined);
    } finally {
      this.#client.terminate();
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
    throw thrown;
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
