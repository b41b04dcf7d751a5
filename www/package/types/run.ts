import type { BestModel, SampledStep } from "../evaluation/types.js";
import type { DatasetReport, Notice } from "./data.js";
import type { LoraConfig, QuantizationConfig, TrainConfig } from "./options.js";

/** When a run rests, and when a model is not downloaded. */
export interface RunPolicy {
  /** Train on mains power alone. Default false. */
  require_mains: boolean;
  /** On battery, rest below this level, between 0 and 1. Default 0.2. */
  min_battery: number;
  /** Download models on metered connections too, and where the browser is asked to save data. Default false. */
  allow_metered: boolean;
  /** Rest when the system is under this pressure, or more. Default "serious". */
  max_pressure: "nominal" | "fair" | "serious" | "critical";
  /**
   * Rest when steps have taken so many times as long as at the run's best for two minutes without a break, which is
   * how heat shows. A machine that others use is slow for a shorter time. Default 2.
   */
  max_slowdown: number;
  /** How long a rest lasts before it is looked at again. Default 30. */
  rest_seconds: number;
  /** The share of the time that the device works, above 0 and at most 1: below 1 each step is followed by a break. Default 1. */
  duty_cycle: number;
}

/** Something that happened to a run, besides its steps. */
export interface RunEvent {
  type:
    | "policy"
    | "started"
    | "resumed"
    | "checkpoint"
    | "checkpoint-failed"
    | "storage-cleared"
    | "paused"
    | "continued"
    | "hidden"
    | "visible"
    | "resting"
    | "rested"
    | "skipped"
    | "rewound"
    | "device-lost"
    | "unresponsive"
    | "recovered"
    | "notice"
    | "waiting"
    | "sampled"
    | "early-stopped"
    | "best-loaded"
    | "finished"
    | "stopped";
  /** Milliseconds since 1970. */
  time: number;
  /** The last step that was logged. */
  step: number;
  /**
   * Why, as a word to match on: "battery", "pressure", "heat", "asked", "quota-exceeded", …; of "unresponsive",
   * "silent" or "ended"; of "notice", the notice's code.
   */
  reason?: string;
  /** The same for people. */
  detail?: string;
  /** How long it will last, or how long until the next try. */
  seconds?: number;
  /** Of "sampled": what the run's prompts were answered. */
  sampled?: SampledStep;
  /** Of "early-stopped" and "best-loaded": the best evaluation. */
  best?: BestModel;
}

/** A checkpoint that a run has in the browser's storage. */
export interface SavedCheckpoint {
  step: number;
  bytes: number;
}

/** What a run takes on its device: of the GPU's memory, or of the tab's where the processor computes. */
export interface Footprint {
  /** Everything, weights included. */
  peak_gpu_bytes: number;
  /** `adapter` is what learns, of runs of all weights their copies; `optimizer` has its gradients, what is kept of earlier ones, and the masters of copies in 16 bits. */
  gpu_bytes: { weights: number; adapter: number; optimizer: number; activations: number; other: number };
  /** Whether backward runs each layer forward again instead of keeping its activations. */
  checkpointing: boolean;
  tokens_per_step_max: number;
}

/**
 * The ways to train that {@link Trainer.compare} knows: "full" is all weights, "lora" an adapter on the model as its files
 * have it, "lora_8bit" one on the model in 8 bits, "qlora" one on the model in 4 bits, and "mezo" the same by MeZO.
 */
export type WayName = "full" | "lora" | "lora_8bit" | "qlora" | "mezo";

/** A way to train a model, and what it takes. */
export interface ComparedWay {
  way: WayName;
  /** What makes a run go this way, for {@link Trainer.load}; learning rate and steps are another matter. */
  options: { quantization?: QuantizationConfig; lora?: LoraConfig; train: TrainConfig };
  /** Left out where the model cannot be trained so. */
  footprint?: Footprint;
  /** Why it cannot. */
  error?: { code: string; message: string };
}

/** A run before its first step: how long it is and what it takes. */
export interface Plan extends Footprint {
  total_steps: number;
  dataset: DatasetReport;
  eval_dataset?: DatasetReport;
  /** Rows that are trained on. */
  train_rows: number;
  /** Rows that are held out. */
  eval_rows: number;
  /** What is worth knowing of the options. */
  notices: Notice[];
  /** Where a resumed run goes on, with the log up to there; `damaged` are steps of checkpoints that were lost. */
  resumed?: { step: number; log: (StepLog | EvalLog)[]; damaged: number[] };
}

/** What runs on preferences tell beside the loss, by TRL's names; what a method or a step has not is left out. */
export interface PreferenceMetrics {
  /** How much likelier chosen, or good, answers are than to the reference, times `beta`; without a reference how likely they are. */
  "rewards/chosen"?: number;
  /** The same of rejected, or bad, answers. */
  "rewards/rejected"?: number;
  /** The share of pairs whose chosen answer has the greater reward. */
  "rewards/accuracies"?: number;
  /** By how much the rewards differ. */
  "rewards/margins"?: number;
  /** Log-probabilities of chosen, or good, answers, in nats: of whole ones, in "orpo" and "simpo" by token. */
  "logps/chosen"?: number;
  /** The same of rejected, or bad, answers. */
  "logps/rejected"?: number;
  /** Of "kto": how far the model is from the reference. */
  kl?: number;
  /** Of "cpo" and "orpo": the loss of the chosen answers themselves. */
  nll_loss?: number;
  /** Of "orpo": the logarithm of the logistic function of the odds. */
  log_odds_ratio?: number;
  /** Of "orpo": the logarithm of the odds of chosen against rejected answers. */
  log_odds_chosen?: number;
}

/** One optimiser step. */
export interface StepLog extends PreferenceMetrics {
  step: number;
  /**
   * Mean over all labelled tokens of the step, in nats; of preferences what the method lowers. Of MeZO the mean of both sides, in
   * what it lowers.
   */
  loss: number;
  /** Global L2 norm before clipping. MeZO has no gradient, so that it is NaN there. */
  grad_norm: number;
  /** Of MeZO: the loss ahead along the direction, as a mean where a step tries several. */
  loss_plus?: number;
  /** Of MeZO: the loss behind. */
  loss_minus?: number;
  /** Of MeZO: how steeply the loss rises along the direction, of which the step goes down; a list where it tries several. */
  projected_grad?: number | number[];
  /** Of MeZO: how far it went to either side. */
  zo_eps?: number;
  /** Of MeZO: what the direction was made from. With the slope it is all that is kept of a step. */
  seed?: number;
  learning_rate: number;
  /** Tokens since the start of the run, padding left out. */
  num_tokens: number;
  tokens_per_second: number;
  peak_gpu_bytes: number;
  /** Of steps that are on their way at the same time, the mean: some browsers tell of two only when both are done. */
  step_millis: number;
  /** What reading the step's rows took, most of it while the device worked on the step before. */
  data_millis: number;
  remaining_seconds: number;
  /** Whether `eval_steps` asks for an evaluation now. */
  eval_due: boolean;
  total_steps: number;
  epoch: number;
  /** Whether loss or gradient were not finite, so that the step changed nothing. */
  skipped: boolean;
  /** Skipped steps of the run so far. */
  skipped_steps: number;
  /** What became of a checkpoint that was due after this step. */
  checkpoint?: CheckpointReport;
  /** The step that the run went back to, because three steps in a row were not finite. */
  rewound_to?: number;
  /** What is worth knowing of the run, with its last step. */
  notice?: Notice;
}

/** What became of a checkpoint. */
export interface CheckpointReport {
  step: number;
  bytes: number;
  millis: number;
  /** Whether the ones before were gone, because the browser had cleared its storage. */
  cleared: boolean;
  /** Why it was not saved; the one before is still there. */
  error?: { code: string; message: string };
}

/** The same of an evaluation. */
export type EvalMetrics = { [Name in keyof PreferenceMetrics as `eval_${Name}`]: PreferenceMetrics[Name] };

/** One pass over the held-out rows. */
export interface EvalLog extends EvalMetrics {
  step: number;
  eval_loss: number;
  tokens: number;
  rows: number;
}

/** What the engine holds and has done so far. */
export interface Counters {
  /** Buffers on the device that are there now. */
  buffers: number;
  /** What they take. */
  buffer_bytes: number;
  /** The most that they took at any time. */
  peak_buffer_bytes: number;
  /** Kernels that were compiled; none on the processor, as bindings. */
  pipelines: number;
  /** Bindings of buffers to kernels that were made. */
  bind_groups: number;
  /** Kernels that were run. */
  dispatches: number;
  /** Batches of commands that were sent to the device. */
  submits: number;
  /** Memory of the engine outside of the device. */
  wasm_heap_bytes: number;
}
