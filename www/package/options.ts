import { failure } from "./errors.js";
import type { CompanionOptions } from "./evaluation/companion.js";
import type { HubOptions } from "./files.js";
import type { ImportModelOptions } from "./hub/carry.js";
import type { LoadOptions, RunOptions } from "./trainer.js";
import type { DeviceName, LoraConfig, QuantizationConfig, SaveOptions, TrainConfig } from "./types.js";

/** What an option has to be; "any" is left to those who read it. */
type Kind = "any" | "boolean" | "function" | "object" | "signal" | "string";

type Kinds<T> = Record<keyof T, Kind>;

const HUB: Kinds<HubOptions> = { hub: "string", token: "string", revision: "string", cache: "boolean" };

const DEVICES: readonly DeviceName[] = ["auto", "webgpu", "cpu"];

/** The options of {@link Trainer.compare}. */
export const COMPARE = { ...HUB, lora: "object", train: "object", device: "any", signal: "signal" } as const;

/** The options of {@link Trainer.estimate}. */
export const ESTIMATE = { ...COMPARE, quantization: "object" } as const;

/** The options of {@link Trainer.load}. */
export const LOAD: Kinds<LoadOptions> = {
  ...ESTIMATE,
  init_adapter: "any",
  base_model_name_or_path: "string",
  eval_dataset: "any",
  policy: "any",
  progress_callback: "function",
};

/** The options of {@link Trainer.export_run}. */
export const EXPORT_RUN = { progress_callback: "function", signal: "signal" } as const;

/** The options of {@link Trainer.import_run}. */
export const IMPORT_RUN = { ...EXPORT_RUN, overwrite: "boolean" } as const;

/** The options of {@link importModel}. */
export const IMPORT_MODEL: Kinds<ImportModelOptions> = { progress_callback: "function", signal: "signal" };

/** The options of runs that belong to the page; all others are those of {@link TrainConfig} and of what goes along with a run. */
const RUN: Kinds<Omit<RunOptions, keyof TrainConfig | keyof CompanionOptions>> = {
  run_name: "any",
  resume_from_checkpoint: "boolean",
  overwrite: "boolean",
  resume_on_other_device: "boolean",
  if_running: "string",
  policy: "any",
  on_event: "function",
  signal: "signal",
};

/** The names of what the engine reads, to say where an option belongs. */
const OF_PARTS: { quantization: Kinds<QuantizationConfig>; lora: Kinds<LoraConfig>; train: Kinds<TrainConfig> } = {
  quantization: {
    load_in_4bit: "any",
    load_in_8bit: "any",
    llm_int8_skip_modules: "any",
    requantize: "any",
    bnb_4bit_quant_type: "any",
    bnb_4bit_use_double_quant: "any",
    bnb_4bit_compute_dtype: "any",
  },
  lora: {
    r: "any",
    lora_alpha: "any",
    lora_dropout: "any",
    target_modules: "any",
    exclude_modules: "any",
    layers_to_transform: "any",
    layers_pattern: "any",
    rank_pattern: "any",
    alpha_pattern: "any",
    init_lora_weights: "any",
    use_rslora: "any",
    use_dora: "any",
    freeze_a: "any",
    modules_to_save: "any",
    bias: "any",
    task_type: "any",
  },
  train: {
    method: "any",
    beta: "any",
    loss_type: "any",
    loss_weights: "any",
    label_smoothing: "any",
    simpo_gamma: "any",
    cpo_alpha: "any",
    desirable_weight: "any",
    undesirable_weight: "any",
    reference: "any",
    precompute_ref_log_probs: "any",
    finetuning_type: "any",
    bf16: "any",
    fp16: "any",
    optim: "any",
    learning_rate: "any",
    max_steps: "any",
    num_train_epochs: "any",
    per_device_train_batch_size: "any",
    gradient_accumulation_steps: "any",
    max_length: "any",
    assistant_only_loss: "any",
    completion_only_loss: "any",
    warmup_steps: "any",
    warmup_ratio: "any",
    lr_scheduler_type: "any",
    weight_decay: "any",
    max_grad_norm: "any",
    adam_beta1: "any",
    adam_beta2: "any",
    adam_epsilon: "any",
    zo_eps: "any",
    zo_num_samples: "any",
    mezo_objective: "any",
    seed: "any",
    shuffle_dataset: "any",
    group_by_length: "any",
    packing: "any",
    test_size: "any",
    logging_steps: "any",
    eval_steps: "any",
    max_eval_samples: "any",
    load_best_model_at_end: "any",
    metric_for_best_model: "any",
    greater_is_better: "any",
    gradient_checkpointing: "any",
    save_steps: "any",
    save_seconds: "any",
    save_total_limit: "any",
    on_not_finite: "any",
  },
};

/** Throws `bad-option` for an option that a call does not have, or that is not what it has to be. */
export function checkOptions(call: string, given: unknown, known: Readonly<Record<string, Kind>>): void {
  for (const [name, value] of entriesOf(call, given)) {
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined) throw failure("bad-option", `${name} is not an option of ${call}; ${hintFor(name, known)}`);
    checkKind(name, value, kind);
  }
}

/** The same of the options of a run; what belongs to {@link TrainConfig} is left to the engine. */
export function checkRunOptions(call: string, given: unknown, more: Readonly<Record<string, Kind>> = {}): void {
  const known: Readonly<Record<string, Kind>> = { ...RUN, ...more };
  for (const [name, value] of entriesOf(call, given)) {
    if (Object.hasOwn(known, name)) checkKind(name, value, known[name]!);
    else if (Object.hasOwn(LOAD, name)) {
      throw failure("bad-option", `${name} is not an option of ${call}: it is one of Trainer.load`);
    }
  }
  const { if_running, run_name } = given as RunOptions;
  if (if_running != null && !["fail", "wait", "watch"].includes(if_running)) {
    throw failure("bad-option", `if_running is "${if_running}", but must be "fail", "wait" or "watch"`);
  }
  if (run_name !== undefined && run_name !== null && (typeof run_name !== "string" || run_name === "")) {
    throw failure("bad-option", "run_name must be a name, or null to keep no checkpoints");
  }
}

/** The options of {@link Trainer.save} where it writes a model. */
const SAVE: Kinds<SaveOptions> = {
  format: "string",
  dtype: "string",
  to: "any",
  adapter: "string",
  file: "string",
  signal: "signal",
  progress_callback: "function",
};

/** Throws `bad-option` for where a model cannot be written; what it cannot be written as the engine knows. */
export function checkSave(given: SaveOptions): void {
  checkOptions("Trainer.save", given, SAVE);
  const { to } = given;
  const is_folder = typeof to === "object" && to !== null && to.kind === "directory";
  if (!is_folder && to !== "opfs" && to !== "download") {
    throw failure("bad-option", 'to must be a folder that showDirectoryPicker gave, "opfs" or "download"');
  }
}

/** Throws `bad-option` for what is neither the name of a device nor a device. */
export function checkDevice(given: unknown): void {
  if (given === undefined || typeof given === "object" || DEVICES.includes(given as DeviceName)) return;
  throw failure("bad-option", `device is ${JSON.stringify(given)}, but must be "auto", "webgpu", "cpu" or a GPUDevice`);
}

/** Throws `bad-option` for anything but a {@link Dataset}. */
export function checkDataset(name: string, given: unknown): void {
  if (typeof given === "object" && given !== null && "name" in given && typeof given.name === "string") return;
  throw failure("bad-option", `${name} must be a Dataset, as Dataset.open gives it`);
}

function entriesOf(call: string, given: unknown): [string, unknown][] {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw failure("bad-option", `the options of ${call} must be an object`);
  }
  return Object.entries(given).filter(([, value]) => value !== undefined);
}

/** The options that are given: null and undefined are none. */
export function present<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value != null)) as T;
}

function checkKind(name: string, value: unknown, kind: Kind): void {
  if (value == null || kind === "any") return;
  const fits = kind === "signal" ? isSignal(value) : typeof value === kind;
  const wanted = { boolean: "true or false", function: "a function", object: "an object", signal: "an AbortSignal", string: "a string" };
  if (!fits) throw failure("bad-option", `${name} must be ${wanted[kind]}`);
}

/** Signals of another window are of another class. */
function isSignal(value: unknown): boolean {
  return typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value;
}

/** What to do about an option that a call does not have. */
function hintFor(name: string, known: Readonly<Record<string, Kind>>): string {
  if (/dtype|load_in_8bit|device_map/.test(name)) {
    return "models stay in the precision of their files, or are held in 4 bits with quantization: { load_in_4bit: true }";
  }
  const home = Object.entries(OF_PARTS).find(([part, options]) => part in known && Object.hasOwn(options, name));
  if (home) return `it belongs into "${home[0]}": ${home[0]}: { ${name}: … }`;
  return `there are ${Object.keys(known).join(", ")}`;
}
