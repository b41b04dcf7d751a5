import type { ErrorDetails } from "./errors.js";
import type { Folder } from "./files.js";
import type {
  AdapterFiles,
  AdapterInfo,
  Counters,
  EvalLog,
  GenerateOptions,
  GenerateResult,
  LoraConfig,
  Message,
  ModelInfo,
  Plan,
  ProgressEvent,
  QuantizationConfig,
  StepLog,
  TrainConfig,
} from "./types.js";

/** Page and worker must carry the same version; a cached half of another build is refused. */
export const VERSION = "0.1.0";

/** A dataset as the worker imports it. */
export interface DatasetSource {
  /** Its name in the browser's storage. */
  name: string;
  file: Blob;
  /** The file's name, for messages. */
  file_name: string;
}

/** Every call that the page can make, with its arguments, its result and what it reports meanwhile. */
export interface Calls {
  start: { args: { version: string }; result: AdapterInfo; event: never };
  load_model: {
    args: { folder: Folder; quantization: QuantizationConfig | undefined };
    result: ModelInfo;
    event: ProgressEvent;
  };
  prepare: {
    args: {
      lora: LoraConfig | undefined;
      train: TrainConfig | undefined;
      init_adapter: Folder | undefined;
      dataset: DatasetSource;
      eval_dataset: DatasetSource | undefined;
    };
    result: Plan;
    event: ProgressEvent;
  };
  train_step: { args: undefined; result: StepLog | undefined; event: never };
  evaluate: { args: undefined; result: EvalLog; event: never };
  generate: { args: { messages: Message[]; options: GenerateOptions }; result: GenerateResult; event: string };
  save: { args: undefined; result: AdapterFiles; event: never };
  counters: { args: undefined; result: Counters; event: never };
  close: { args: undefined; result: undefined; event: never };
}

export type CallName = keyof Calls;

/** From the page: a call, or the wish that a running one ends early. */
export type Request =
  | { [C in CallName]: { id: number; call: C; args: Calls[C]["args"] } }[CallName]
  | { cancel: number };

/** From the worker: something on the way, the result, or why there is none. */
export type Reply = { id: number; event: unknown } | { id: number; result: unknown } | { id: number; error: ErrorDetails };
