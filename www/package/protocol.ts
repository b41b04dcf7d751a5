import type { Post, Word } from "./cpu/team.js";
import type { ErrorDetails } from "./errors.js";
import type { SampledStep } from "./evaluation/types.js";
import type { Layout } from "./federated/offer.js";
import type { Terms } from "./federated/terms.js";
import type { FederationEvent } from "./federated/types.js";
import type { Folder } from "./files.js";
import type { SentSource } from "./sources/types.js";
import type {
  AdapterFiles,
  AdapterInfo,
  BlendPart,
  CheckpointReport,
  ComparedWay,
  Counters,
  DatasetInfo,
  DeviceName,
  EvalLog,
  Exported,
  Footprint,
  GenerateOptions,
  GenerateResult,
  ImportOptions,
  ImportReport,
  Inspection,
  Lengths,
  LoadedAdapter,
  LoraConfig,
  ModelInfo,
  Plan,
  ProgressEvent,
  Prompt,
  QuantizationConfig,
  SavedCheckpoint,
  SaveOptions,
  SeenRow,
  StepLog,
  StoredRow,
  TrainConfig,
} from "./types.js";

/**
 * The package's version and, after "+", a hash of what it was built from; bundling puts both in place of this text.
 * Page and worker must carry the same one: a half that the browser kept of another build is refused.
 */
export const VERSION: string = "0.0.0+unbundled";

/** Every call that the page can make, with its arguments, its result and what it reports meanwhile. */
export interface Calls {
  start: { args: { version: string; device: DeviceName }; result: AdapterInfo; event: never };
  load_model: {
    args: {
      folder: Folder;
      quantization: QuantizationConfig | undefined;
      /** Looked at before anything is downloaded. */
      lora: LoraConfig | undefined;
      train: TrainConfig | undefined;
      /** What exported adapters call the model, if not where its files lie. */
      base: string | undefined;
    };
    result: ModelInfo;
    event: ProgressEvent;
  };
  prepare: {
    args: {
      lora: LoraConfig | undefined;
      train: TrainConfig | undefined;
      /** Names of datasets. */
      dataset: string;
      eval_dataset: string | undefined;
      run_name: string | undefined;
      resume_from_checkpoint: boolean;
      overwrite: boolean;
      resume_on_other_device: boolean;
    };
    result: Plan;
    event: ProgressEvent;
  };
  // These tell what runs take on a device. Nothing has to be started for it, and they leave no model.
  estimate: {
    args: { device: DeviceName; folder: Folder } & RunParts;
    result: Footprint;
    event: ProgressEvent;
  };
  compare: {
    args: { device: DeviceName; folder: Folder; lora: LoraConfig; train: TrainConfig };
    result: ComparedWay[];
    event: ProgressEvent;
  };
  preview: {
    args: { name: string; train: TrainConfig | undefined; first: number; count: number };
    result: SeenRow[];
    event: never;
  };
  lengths: {
    args: { name: string; train: TrainConfig | undefined; bins: number };
    result: Lengths;
    event: ProgressEvent;
  };
  /** `pipelined`: whether the GPU may have the step after it already. `end`: the last step to make, before the run's own. */
  train_step: { args: { pipelined: boolean; end: number | undefined }; result: StepLog | undefined; event: never };
  save_checkpoint: {
    args: undefined;
    result: { logs: StepLog[]; checkpoint: CheckpointReport | null };
    event: never;
  };
  evaluate: { args: undefined; result: EvalLog; event: never };
  /**
   * How likely the model finds texts, row by row and in their order: with `adapter` as it was tuned, by the active adapter or
   * the run's weights, else as it was loaded. Rows without a labelled token have no tokens.
   */
  score: {
    args: { texts: ScoredText; adapter: boolean; train: TrainConfig | undefined };
    result: RowScore[];
    event: ProgressEvent;
  };
  /** Puts the weights of the best evaluation in place of the last ones; the run is at its end then and makes no further step. */
  load_best: { args: undefined; result: { step: number; metric: number }; event: never };
  generate: { args: { prompt: Prompt; options: GenerateOptions }; result: GenerateResult; event: string };
  /** The active adapter where none is named. */
  save: { args: { name: string | undefined }; result: AdapterFiles; event: never };
  /** Writes the model of `folder` with an adapter; without a folder to go to, into the browser's own storage. */
  export: {
    args: {
      folder: Folder;
      to: FileSystemDirectoryHandle | undefined;
      options: Pick<SaveOptions, "format" | "dtype" | "file"> & { name: string | undefined };
    };
    result: Exported;
    event: ProgressEvent;
  };
  load_adapter: { args: { name: string; folder: Folder }; result: AdapterList; event: ProgressEvent };
  blend_adapters: { args: { name: string; parts: BlendPart[] }; result: AdapterList; event: never };
  /** Without a name no adapter is active. */
  use_adapter: { args: { name: string | undefined }; result: AdapterList; event: never };
  delete_adapter: { args: { name: string }; result: AdapterList; event: never };
  adapters: { args: undefined; result: AdapterList; event: never };
  counters: { args: undefined; result: Counters; event: never };

  // Of rounds of learning together. Each says what it is about, because an engine may be another one than that which joined.
  /** What the prepared run exchanges, and who this browser is to the server, which does not hear of it. */
  federation_open: { args: FederationCall; result: { layout: Layout; public_key: string; fingerprint: string }; event: never };
  federation_join: { args: FederationCall; result: void; event: never };
  /** Waits for what the server asks of the page next. */
  federation_next: { args: FederationCall; result: FederationAsked; event: FederationEvent };
  /** Takes what came with a round, unless that was done before, and tells after which step the next one is. */
  federation_begin: { args: FederationCall & { first: number }; result: { at: number }; event: never };
  /** Sends what the steps of a round changed. */
  federation_send: {
    /** `made`: so many steps, whose mean loss is `train_loss`. */
    args: FederationCall & { train_loss: number; made: number };
    result: { bytes_up: number; bytes_down: number; is_counted: boolean };
    event: FederationEvent;
  };
  /** Takes what all have made of it. */
  federation_take: { args: FederationCall; result: void; event: never };
  /** Sends the loss on rows that are held out here. */
  federation_told: { args: FederationCall & { held_out: number; eval_loss: number }; result: void; event: FederationEvent };
  federation_leave: { args: FederationCall; result: void; event: never };

  /** Frees everything; the counters tell what is left. */
  close: { args: undefined; result: Counters; event: never };

  // Of datasets: these need no GPU and may overlap with one another.
  start_library: { args: { version: string }; result: void; event: never };
  inspect: { args: { source: SentSource; options: ImportOptions }; result: Inspection; event: never };
  import: {
    args: { name: string; source: SentSource; options: ImportOptions; resume: boolean };
    result: ImportReport;
    event: ProgressEvent;
  };
  datasets: { args: undefined; result: DatasetInfo[]; event: never };
  dataset_info: { args: { name: string }; result: DatasetInfo; event: never };
  dataset_rows: { args: { name: string; first: number; count: number }; result: StoredRow[]; event: never };
  /** Numbers of rows. */
  held_out_rows: { args: { name: string; test_size: number }; result: Uint32Array; event: never };
  deduplicate: { args: { name: string }; result: number; event: never };
  discard_pending: { args: { name: string }; result: void; event: never };
  checkpoints: { args: { run_name: string }; result: SavedCheckpoint[]; event: never };
  /** Removes the checkpoints of a run and its samples. */
  delete_run: { args: { run_name: string }; result: void; event: never };
  /** Takes the last checkpoint of a run out. */
  export_run: { args: { run_name: string }; result: Blob; event: ProgressEvent };
  /** Takes one in; tells of its last checkpoint. */
  import_run: { args: { run_name: string; bytes: Blob; overwrite: boolean }; result: SavedCheckpoint; event: ProgressEvent };
  /** Keeps the samples of a run, in place of those that were kept. */
  keep_samples: { args: { run_name: string; samples: SampledStep[] }; result: void; event: never };
  /** What was kept; nothing of a run that has none. */
  samples: { args: { run_name: string }; result: SampledStep[]; event: never };
  rename_dataset: { args: { name: string; to: string }; result: void; event: never };
  delete_dataset: { args: { name: string }; result: void; event: never };
}

/** What a run is made of. */
export interface RunParts {
  quantization?: QuantizationConfig | undefined;
  lora?: LoraConfig | undefined;
  train?: TrainConfig | undefined;
}

/** What a call of rounds is about. */
export interface FederationCall {
  /** The server's, which all of its paths begin with. */
  address: string;
  terms: Terms;
  /** Rows that the run learns from. */
  rows: number;
  /** Local steps of a round. */
  steps: number;
}

/** What a server asks of the page. */
export type FederationAsked =
  /** `is_begun`: whether a tab before this one has begun the round. */
  | { type: "train"; number: number; rounds: number; is_begun: boolean }
  | { type: "evaluate"; number: number; rounds: number }
  /** The last round is over, and what came of it is there to be taken. */
  | { type: "over" };

export type CallName = keyof Calls;

/**
 * What {@link Calls.score} looks at: rows of a stored dataset, tokenised as `train` says, or rows that are given, shaped as
 * those of datasets. Without `count` a dataset is looked at to its end. Pairs have two scores a row: chosen, then rejected.
 */
export type ScoredText = { dataset: string; first?: number; count?: number } | { rows: unknown[] };

/** How likely a text is. */
export interface RowScore {
  /** The sum of the log-probabilities of the labelled tokens, in nats. */
  logp: number;
  /** The labelled tokens. */
  tokens: number;
  /** How many of them are what the model itself finds likeliest. */
  hits: number;
}

/** The adapters that an engine has. */
export interface AdapterList {
  active: string | null;
  adapters: LoadedAdapter[];
  /** Whether there is a prepared run, whose adapter, if it trains one, is then among them. */
  has_run: boolean;
}

/** From the page: a call, the wish that a running one ends early, or the question whether anybody is there. */
export type Request =
  | { [C in CallName]: { id: number; call: C; args: Calls[C]["args"] } }[CallName]
  | { cancel: number }
  | { ping: true };

/** From the worker: something on the way, the result, or why there is none. */
export type Reply =
  | { id: number; event: unknown }
  | { id: number; result: unknown }
  | { id: number; error: ErrorDetails }
  | { pong: true };

/** From a worker, once: the name of a lock that it holds as long as it lives. */
export interface Sign {
  lock: string;
}

/** From a worker: the page is to start one that runs kernels, which the engine knows by a number, or to end it. */
export interface KernelsWish {
  kernels: number;
  post?: Post;
}

/** To a worker: what such a one said, or why it is none. */
export type KernelsAnswer = { kernels: number; word: Word } | { kernels: number; error: string };
