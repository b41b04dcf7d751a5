/** How the frozen base is stored. bitsandbytes' names. */
export interface QuantizationConfig {
  /** Default false: the base keeps its own precision. */
  load_in_4bit?: boolean;
  /** The 4-bit code; "nf4" is the only one. */
  bnb_4bit_quant_type?: "nf4";
  /** Default false: block scales are kept in 32 bits instead of being quantised to 8. */
  bnb_4bit_use_double_quant?: boolean;
}

/** The adapter. PEFT's names and defaults. */
export interface LoraConfig {
  r?: number;
  lora_alpha?: number;
  lora_dropout?: number;
  /** Module names such as "q_proj", or "all-linear" for every linear layer but the head. */
  target_modules?: string[] | "all-linear";
  use_rslora?: boolean;
}

/** The run. TRL's and transformers' names and defaults. */
export interface TrainConfig {
  learning_rate?: number;
  max_steps?: number;
  num_train_epochs?: number;
  per_device_train_batch_size?: number;
  gradient_accumulation_steps?: number;
  max_length?: number;
  assistant_only_loss?: boolean;
  completion_only_loss?: boolean | null;
  warmup_steps?: number;
  warmup_ratio?: number;
  lr_scheduler_type?: "linear" | "cosine" | "constant" | "constant_with_warmup";
  weight_decay?: number;
  max_grad_norm?: number;
  adam_beta1?: number;
  adam_beta2?: number;
  adam_epsilon?: number;
  seed?: number;
  shuffle_dataset?: boolean;
  logging_steps?: number;
  /** Evaluate after every so many steps. Left out: only when asked. */
  eval_steps?: number;
  gradient_checkpointing?: boolean | "auto";
}

/** The GPU that runs the job. */
export interface AdapterInfo {
  /** Empty where the browser keeps it to itself. */
  name: string;
  backend: string;
  /** Empty where the browser keeps it to itself. */
  driver: string;
  /** Whether a processor plays the GPU, as in headless browsers on machines without one. */
  is_software: boolean;
  max_buffer_bytes: number;
  max_storage_binding_bytes: number;
  max_workgroup_storage_bytes: number;
}

/** The model that was loaded. */
export interface ModelInfo {
  model_type: string;
  parameters: number;
  quantized_parameters: number;
  weight_bytes: number;
  bits_per_quantized_parameter: number;
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  /** The longest sequence, in tokens, that the model was made for. */
  context: number;
}

/** What became of the rows of a file. */
export interface DatasetReport {
  rows: number;
  kept: number;
  /** Rows without a single labelled token. */
  dropped: number;
  /** Rows cut to `max_length`. */
  truncated: number;
  tokens: number;
  labelled_tokens: number;
  /** The longest kept row, in tokens. */
  longest: number;
}

/** A run before its first step: how long it is and what it takes. */
export interface Plan {
  total_steps: number;
  peak_gpu_bytes: number;
  gpu_bytes: { weights: number; adapter: number; optimizer: number; activations: number; other: number };
  /** Whether backward runs each layer forward again instead of keeping its activations. */
  checkpointing: boolean;
  tokens_per_step_max: number;
  dataset: DatasetReport;
  eval_dataset?: DatasetReport;
}

/** One optimiser step. */
export interface StepLog {
  step: number;
  /** Mean over all labelled tokens of the step, in nats. */
  loss: number;
  /** Global L2 norm before clipping. */
  grad_norm: number;
  learning_rate: number;
  /** Tokens since the start of the run, padding left out. */
  num_tokens: number;
  tokens_per_second: number;
  peak_gpu_bytes: number;
  step_millis: number;
  remaining_seconds: number;
  /** Whether `eval_steps` asks for an evaluation now. */
  eval_due: boolean;
  total_steps: number;
  epoch: number;
}

/** One pass over the held-out rows. */
export interface EvalLog {
  step: number;
  eval_loss: number;
  tokens: number;
  rows: number;
}

export interface Message {
  role: string;
  content: string;
}

export interface GenerateOptions {
  /** Whether the adapter takes part. Default true; without a run there is only the base model. */
  adapter?: boolean;
  /** Default 128. */
  max_new_tokens?: number;
  /** Default 0: the likeliest token each time. */
  temperature?: number;
  /** Default 1. */
  top_p?: number;
  seed?: number;
}

/** How a generation ended. */
export interface GenerateResult {
  text: string;
  tokens: number;
  tokens_per_second: number;
  stop: "eos" | "length" | "cancelled";
}

/** What the engine holds and has done so far. */
export interface Counters {
  buffers: number;
  buffer_bytes: number;
  peak_buffer_bytes: number;
  pipelines: number;
  bind_groups: number;
  dispatches: number;
  submits: number;
  wasm_heap_bytes: number;
}

/** Progress in transformers.js's shape; `progress` is in percent. */
export interface ProgressEvent {
  status: string;
  name: string;
  file: string;
  loaded?: number;
  total?: number;
  progress?: number;
}

export type ProgressCallback = (event: ProgressEvent) => void;

/** The files of a PEFT adapter by name. */
export type AdapterFiles = Record<"adapter_config.json" | "adapter_model.safetensors", Uint8Array<ArrayBuffer>>;
