import type { BestModel, SampledStep } from "./evaluation/types.js";

/** How the frozen base is stored. bitsandbytes' names. */
export interface QuantizationConfig {
  /** Default false: the base keeps its own precision. */
  load_in_4bit?: boolean;
  /**
   * Default false. LLM.int8: a byte a value, with a scale for each row. Activations stay in 32 bits, so that outliers
   * need not be taken apart.
   */
  load_in_8bit?: boolean;
  /**
   * Default null. Names of linear layers that stay as their files have them while the others are quantised, to 4 bits too:
   * `"o_proj"`, or `"model.layers.0"` for all of a layer. As in transformers each is what a path ends with, or a regular
   * expression for its beginning up to a dot. Embedding and head (`"lm_head"`) are never quantised, named or not.
   */
  llm_int8_skip_modules?: string[] | null;
  /**
   * Default null: weights that are quantised in their files, by bitsandbytes or in a GGUF, stay as they are. With "nf4" they are
   * quantised once more, which makes them smaller, or the same for every model, and less exact.
   */
  requantize?: "nf4" | null;
  /** The 4-bit code; "nf4" is the only one. */
  bnb_4bit_quant_type?: "nf4";
  /** Default false: block scales are kept in 32 bits instead of being quantised to 8. */
  bnb_4bit_use_double_quant?: boolean;
  /**
   * What the values of a 4-bit weight may be rounded to before they are multiplied. Default "float16", which is
   * used only where the GPU has it and is found to be faster with it. Everything else is 32 bits either way, and
   * with "bfloat16", which browsers do not offer, all of it is.
   */
  bnb_4bit_compute_dtype?: "float16" | "float32" | "bfloat16";
}

/**
 * The adapter, which runs of all weights have not. PEFT's names and defaults; its other options are accepted at the values
 * that ask for what is done anyway, e.g. `bias: "none"`. With `init_adapter`, what is not said here comes from that adapter.
 */
export interface LoraConfig {
  /** The rank: how much the adapter can learn, 1 to 512. Default 8. */
  r?: number;
  /** The adapter is multiplied by `lora_alpha / r`. Default 8. */
  lora_alpha?: number;
  /** The chance that an input of the adapter is left out in training, below 1. Default 0. */
  lora_dropout?: number;
  /**
   * Module names such as "q_proj", "all-linear" for every linear layer but the head, or a regular expression for whole
   * paths such as "model.layers.0.self_attn.q_proj". Default: "q_proj" and "v_proj".
   */
  target_modules?: string[] | string;
  /** Modules that are not adapted: names, or a regular expression for whole paths. Default: none. */
  exclude_modules?: string[] | string | null;
  /** The numbers of the layers that are adapted; it goes with a list of `target_modules`. Default: all. */
  layers_to_transform?: number[] | number | null;
  /** What stands before the number of a layer in paths, where that is not told by its place. */
  layers_pattern?: string[] | string | null;
  /** Ranks other than `r`: by the ends of paths, which may be regular expressions; the first that fits counts. */
  rank_pattern?: Record<string, number>;
  /** The same for `lora_alpha`. */
  alpha_pattern?: Record<string, number>;
  /**
   * The first values: true (default; A uniform, B zero), "gaussian" (A normal with a deviation of 1/r, B zero), or false
   * (both uniform, so that the model is not itself at first).
   */
  init_lora_weights?: boolean | "gaussian";
  /** Multiply by `lora_alpha / √r` instead, which suits high ranks. Default false. */
  use_rslora?: boolean;
  /**
   * DoRA (Liu et al. 2024): beside the adapter each row of an adapted weight learns its length, which brings a small rank
   * nearer to training all weights. A step takes longer. Default false.
   */
  use_dora?: boolean;
  /**
   * FFA-LoRA (Sun et al. 2024): A stays as it starts and B alone learns, so that what several have learnt adds up exactly. No
   * option of PEFT's, where `requires_grad` of every `lora_A` is turned off instead. Default false.
   */
  freeze_a?: boolean;
  /**
   * Modules that learn whole beside the adapter, by the ends of their names: "embed_tokens" and "lm_head" for words that
   * the model does not know, "norm" for all norms. Each is held in 32 bits. Default: none.
   */
  modules_to_save?: string[] | null;
  /** Which biases of the model learn too: "none" (default), "lora_only" for those of adapted layers, or "all". */
  bias?: "none" | "lora_only" | "all";
  /** What the adapter is for; there is one task. */
  task_type?: "CAUSAL_LM";
}

/** What DPO may lower. */
export type LossType = "sigmoid" | "hinge" | "ipo" | "robust" | "apo_zero" | "apo_down" | "sft";

/** The run. TRL's and transformers' names and defaults. */
export interface TrainConfig {
  /**
   * What rows are learnt by. "sft" (default): what they say. "dpo", "orpo", "simpo" and "cpo" learn from pairs, rows with
   * `chosen` and `rejected` and perhaps `prompt`: the one answer becomes likelier than the other. "kto" learns from answers
   * that are rated one by one, rows with `prompt`, `completion` and `label`, or from pairs taken apart. All but "sft" have a
   * `learning_rate` of 1e-6 unless another is given, as TRL has it, which is low for LoRA.
   */
  method?: "sft" | "dpo" | "orpo" | "simpo" | "cpo" | "kto";
  /** How strongly the model is held where it was: the larger, the more. Of preferences. Default 0.1. */
  beta?: number;
  /** Of "dpo": what is lowered, or several of these, which are added up. Default "sigmoid". */
  loss_type?: LossType | LossType[];
  /** What each of several `loss_type` weighs. Default 1 each. */
  loss_weights?: number[];
  /** The share of pairs that are taken to be the wrong way round: of "robust", "cpo" and "simpo". Default 0. */
  label_smoothing?: number;
  /** Of "simpo": by how much the chosen answer is to be ahead. Default 0.5. */
  simpo_gamma?: number;
  /** Of "cpo": what the likelihood of the chosen answer itself weighs. Default 1. */
  cpo_alpha?: number;
  /** Of "kto": what answers weigh that are rated good. Default 1. */
  desirable_weight?: number;
  /** Of "kto": what answers weigh that are rated bad. Default 1. */
  undesirable_weight?: number;
  /**
   * Of "dpo" and "kto": what answers are compared with, the model without an adapter ("base", default) or what the run
   * starts from ("start"), such as an adapter that was loaded.
   */
  reference?: "base" | "start";
  /**
   * Of "dpo" and "kto": find out once before the first step what the reference makes of all rows, and keep it beside their
   * tokens (default), or along with each step, which takes longer and keeps nothing.
   */
  precompute_ref_log_probs?: boolean;
  /**
   * What learns, by LLaMA-Factory's names. "lora" (default): an adapter beside the model, which is small, quick and usually enough.
   * "full": all weights of the model, for what no adapter can hold, such as another language. They learn as copies in 32 bits
   * beside the loaded model, which takes about 16 bytes a parameter, or 8 with `optim: "adafactor"`; the model cannot be
   * quantised then, and there are no options of `lora`. {@link Trainer.save} writes the whole model.
   */
  finetuning_type?: "lora" | "full";
  /**
   * What makes steps of gradients, by transformers' names. "adamw_torch" (default): AdamW, which keeps two numbers for each
   * one that learns and suits nearly everything. "adafactor": keeps one for each row and each column of a matrix, for all
   * weights where memory is short; rates that suit AdamW suit it. "sgd": plain gradient descent, which keeps none; it learns
   * more slowly and wants a far higher `learning_rate`, such as 0.1. "mezo": MeZO, which has no gradient: it
   * measures the loss a little to either side along a random direction and goes down, in about the memory that an answer takes.
   * A step takes about 0.6 of the time, but many times as many are needed; rates that suit it are 5e-5 to 1e-3 for LoRA and
   * 1e-6 to 1e-4 for all weights. Dropout is off in it, and `max_grad_norm`, `gradient_checkpointing` and `adam_…` have no effect.
   */
  optim?: "adamw_torch" | "sgd" | "adafactor" | "mezo";
  /** How far a step goes, at its highest. Default 2e-5, which is usual for all weights and low for LoRA. */
  learning_rate?: number;
  /** Optimiser steps. Default -1: `num_train_epochs` decides. */
  max_steps?: number;
  /** How often each row is learnt from, where `max_steps` is not given. Default 3. */
  num_train_epochs?: number;
  /** Rows that go through the model at once. Default 8. */
  per_device_train_batch_size?: number;
  /** How many such batches make up a step. Default 1. */
  gradient_accumulation_steps?: number;
  /** Tokens that a row keeps; what is longer loses its end. Default 1024. */
  max_length?: number;
  /** Of chats, learn the assistant's turns alone. Default false. */
  assistant_only_loss?: boolean;
  /** Of rows with prompt and completion, learn the completion alone. Default null: true for such rows. */
  completion_only_loss?: boolean | null;
  /** Steps in which the learning rate rises from zero; below 1, their share of all steps. Default 0. */
  warmup_steps?: number;
  /** The same as a share of all steps, where `warmup_steps` is 0. Default 0. */
  warmup_ratio?: number;
  /** How the learning rate moves after the warm-up. Default "linear": down to zero. */
  lr_scheduler_type?: "linear" | "cosine" | "constant" | "constant_with_warmup";
  /** AdamW's decay of the weights. Default 0. */
  weight_decay?: number;
  /** The norm that gradients are clipped to; 0 does not clip. Default 1. */
  max_grad_norm?: number;
  /** AdamW's memory of gradients. Default 0.9. */
  adam_beta1?: number;
  /** AdamW's memory of squared gradients. Default 0.999. */
  adam_beta2?: number;
  /** What AdamW adds to the divisor. Default 1e-8. */
  adam_epsilon?: number;
  /** How far MeZO moves what learns to either side, to see what that does to the loss; above 0. Default 1e-3. */
  zo_eps?: number;
  /** Directions that a step of MeZO tries, 1 to 8: more make it as many times as long, and surer of its way. Default 1. */
  zo_num_samples?: number;
  /**
   * What MeZO lowers: the loss (default), or with "exact_match" the share of rows whose likeliest answer is not word for word
   * the row's. That is what counts where an answer is right or wrong, and has no gradient.
   */
  mezo_objective?: "loss" | "exact_match";
  /** The same seed gives the same run: the adapter's first values, order of rows, dropout. Default 42. */
  seed?: number;
  /** Mix the rows before they are put into batches. Default false. */
  shuffle_dataset?: boolean;
  /** Put rows of like lengths into the same step. Default false. */
  group_by_length?: boolean;
  /**
   * Let short rows share a sequence of at most `max_length` tokens, which then counts as one row of the
   * batch. They do not see one another, so the loss stays that of the single rows. Default false.
   */
  packing?: boolean;
  /**
   * The share of rows to hold out for evaluation, between 0 and 1, chosen by a hash of each row: one that
   * is held out stays so when the dataset grows. Default 0.
   */
  test_size?: number;
  /** Rows of those held out that are evaluated, spread evenly over them. Left out: all of them. */
  max_eval_samples?: number;
  /** Taken for the sake of TRL's configs; every step is logged whatever it says. Default 10. */
  logging_steps?: number;
  /** Evaluate after every so many steps; below 1, after that share of all steps. Left out: only when asked. */
  eval_steps?: number;
  /**
   * At the end of the run, go back to the weights of its best evaluation, which are kept beside the checkpoints. Needs
   * `eval_steps` and a `run_name`. Default false.
   */
  load_best_model_at_end?: boolean;
  /** What the best evaluation is told by: the name of what an evaluation tells, with "eval_" before it or without. Default "loss". */
  metric_for_best_model?: string;
  /** Whether more of it is better. Default: where its name does not end with "loss". */
  greater_is_better?: boolean;
  /** Compute activations again in backward, which saves memory. Default "auto": only where they would not fit. */
  gradient_checkpointing?: boolean | "auto";
  /** Save a checkpoint after every so many steps. Left out: by time alone. */
  save_steps?: number | null;
  /** Save a checkpoint after so many seconds. Default 60; null leaves it to `save_steps`. */
  save_seconds?: number | null;
  /** Checkpoints that are kept. Default 2. */
  save_total_limit?: number;
  /**
   * After three steps in a row whose loss or gradient was not finite: go back to the last checkpoint with
   * half the learning rate (default), or stop.
   */
  on_not_finite?: "rewind" | "stop";
}

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

/** What computes: WebGPU, the processor, or whichever of them is faster here. */
export type DeviceName = "auto" | "webgpu" | "cpu";

/** The GPU or processor that runs the job. */
export interface AdapterInfo {
  /** E.g. "7 workers on the processor". Empty where the browser keeps it to itself. */
  name: string;
  /** What the browser or the system drives it by, e.g. "webgpu" or "vulkan"; "cpu" where the processor computes. */
  backend: string;
  /** Of the processor, its instructions. Empty where the browser keeps it to itself. */
  driver: string;
  /** Whether a processor computes: as itself, or playing a GPU, as in headless browsers on machines without one. */
  is_software: boolean;
  /**
   * For people: why "auto" took the processor and what gets a GPU in this browser, and what a page needs for all cores
   * to compute. Left out where there is nothing to tell.
   */
  hint?: string;
  /** The largest buffer. */
  max_buffer_bytes: number;
  /** The largest part of a buffer that a kernel can see. */
  max_storage_binding_bytes: number;
  /** Memory that the threads of a workgroup share. */
  max_workgroup_storage_bytes: number;
}

/** The model that was loaded. */
export interface ModelInfo {
  /** As its config.json has it, e.g. "llama". */
  model_type: string;
  /** All of them. */
  parameters: number;
  /** Those that are held in 4 bits. */
  quantized_parameters: number;
  /** What the weights take on the device. */
  weight_bytes: number;
  /** Scales included; 0 where nothing is quantised. */
  bits_per_quantized_parameter: number;
  /** Tokens that it knows. */
  vocab_size: number;
  /** Numbers that stand for a token between two layers. */
  hidden_size: number;
  /** Layers of the decoder. */
  num_hidden_layers: number;
  /** The longest sequence, in tokens, that the model was made for. */
  context: number;
  /** Whether it can be asked as a chat; without a chat template it goes on from text. */
  has_chat_template: boolean;
  /** Of its config and weights as its files have them: the same wherever they lie, and whatever `quantization` makes of them. */
  fingerprint: string;
  /** What is worth knowing of its files and of the options that it was loaded with. */
  notices: Notice[];
}

/** A LoRA adapter that answers can be given with. */
export interface LoadedAdapter {
  /** "default" is the one that runs start from and train. */
  name: string;
  r: number;
  lora_alpha: number;
  target_modules: string[] | string;
  /** The model that it was trained on: a hub id, an address or a folder, as far as its files tell. */
  base_model_name_or_path: string | null;
}

/** One of the adapters that {@link Adapters.blend} makes one of. */
export interface BlendPart {
  /** Its name among the adapters. */
  adapter: string;
  /** What its change of the model is multiplied with; a negative weight takes away what it adds, and 0 leaves it out. */
  weight: number;
}

/** How files become rows. */
export interface ImportOptions {
  /**
   * The columns that stand for the usual ones, for files that name them differently, e.g.
   * `{ prompt: "Frage", completion: "Antwort" }`. Parts are `prompt`, `completion`, `messages`, `text` and the like,
   * and beside them `system` (what the system says) and `input` (what the question is about).
   */
  columns?: Record<string, string>;
  /**
   * What a question and its answer, two texts, become: a user's and an assistant's turn (`"chat"`), or bare text
   * (`"text"`). Default `"auto"`: columns called `prompt` and `completion` are bare text, as in TRL, and every other
   * pair is a chat. A model without chat template learns the chat as text.
   */
  pairs?: "auto" | "chat" | "text";
  /** Stop with an error at the first bad row (default), or leave bad rows out and count them. */
  on_bad_row?: "stop" | "skip";
  /** Add to the rows that are there instead of replacing them. Default false. */
  append?: boolean;
  /** Leave out rows that the import has met before. Default false. */
  deduplicate?: boolean;
  /** What stands between the fields of CSV and TSV files. Default: found out. */
  delimiter?: string;
  /**
   * Whether the first line of CSV and TSV files, or the first row of a workbook, names the columns (default). Else
   * they are called "0", "1" and so on.
   */
  header?: boolean;
  /** How text files store characters, where no byte order mark says so. Default: "utf-8". */
  encoding?: Encoding;
  /** The most characters of a row that is cut out of plain text or Markdown. Default 2000. */
  text_chars?: number;
}

/** How characters are stored. */
export type Encoding = "utf-8" | "utf-16le" | "utf-16be" | "windows-1252";

/** A row that was left out of an import. */
export interface BadRow {
  file: string;
  /** What `place` counts. */
  unit: "line" | "row";
  /** Counted from one. */
  place: number;
  reason: string;
}

/** The shapes that rows come in. */
export type RowShape = "messages" | "prompt_completion" | "text" | "alpaca" | "sharegpt" | "preference" | "unpaired_preference";

/** What an import found. */
export interface ImportReport {
  /** Rows that were kept. */
  rows: number;
  /** How many of them came in each shape. */
  shapes: Partial<Record<RowShape, number>>;
  /** Bad rows that were left out. */
  skipped: number;
  /** The first of these. */
  bad_rows: BadRow[];
  /** Rows that were left out because they had been met before. */
  duplicates: number;
  /** Columns that held something and were not used, such as `label`, with the number of rows in which they did. */
  ignored_columns: Record<string, number>;
  /** What is worth knowing of the rows that were kept, e.g. "empty-cells". */
  notices: Notice[];
  /**
   * The first hundred files of a folder or list, and sheets of workbooks, that were left out: hidden ones, such as
   * describe the data, splits other than "train", and what is no data.
   */
  ignored_files: IgnoredFile[];
}

/** A file that was not imported. */
export interface IgnoredFile {
  file: string;
  reason: string;
}

/** The first rows of a file and how they would be read. */
export interface Inspection {
  file: string;
  format: "jsonl" | "json" | "csv" | "tsv" | "text" | "markdown" | "rows" | "sheet";
  /** How these rows were read; what to pass on where the notice "encoding" asks for it and they look right. */
  encoding: Encoding;
  columns: string[];
  /** The shape of the first row and the column that each of its parts is read from; null if it is unknown. */
  mapping: { shape: RowShape; columns: Record<string, string> } | null;
  /** Why the first row, or the file from some place on, cannot be read. */
  problem: string | null;
  /** The rows as they would be kept. */
  rows: object[];
  bad_rows: BadRow[];
  /**
   * What may be meant otherwise: "encoding" (the file is not UTF-8 and was read as Windows-1252), "no-header" (the
   * first line looks like a row), "empty-cells", "ignored-files" (of a folder or workbook, not all is imported).
   */
  notices: Notice[];
}

/** A dataset without its rows. */
export interface DatasetInfo {
  name: string;
  rows: number;
  bytes: number;
  /** The same for the same rows in the same order; empty without rows. */
  fingerprint: string;
  files: string[];
  /** Rows that an interrupted import has stored; null where there is none. */
  pending_rows: number | null;
  /** Tokens and the like, for each model and options that the rows were tokenised for. */
  token_sets: DatasetReport[];
}

/** A row as a dataset keeps it, and where it came from. */
export interface StoredRow {
  row: object;
  file: string;
  unit: "line" | "row";
  place: number;
}

/** A row as the loaded model sees it. */
export interface SeenRow {
  /** E.g. "chats.jsonl line 17". */
  origin: string;
  tokens: SeenToken[];
  /** Tokens before the row was cut to `max_length`. */
  full_length: number;
  /** Whether the answer is rated good, where answers are rated. */
  label?: boolean;
  /** Of a pair, whose chosen answer is above, the prompt with the rejected one. */
  rejected?: { tokens: SeenToken[]; full_length: number };
}

/** A token of a row. */
export interface SeenToken {
  id: number;
  /** What it adds to the text; a character of several tokens comes with its last one. */
  text: string;
  /** Whether the loss counts it. */
  labelled: boolean;
  /** Whether it is a special token, such as the end of a turn. */
  special: boolean;
}

/** How long the rows of a dataset are, in tokens and before they are cut. */
export interface Lengths {
  longest: number;
  /** Rows of `i * width` to `(i + 1) * width - 1` tokens, by i. */
  rows: number[];
  width: number;
  /** Rows that are cut to `max_length`. */
  cut_rows: number;
  /** Tokens that are cut off. */
  cut_tokens: number;
}

/** Something that is no error and is worth telling a person. */
export interface Notice {
  /** A word to match on, e.g. "pairs-as-text". */
  code: string;
  /** The same for people: what was found, in how many rows, and what to do where it is not wanted. */
  message: string;
}

/** What became of the rows of a dataset when they were tokenised. */
export interface DatasetReport {
  rows: number;
  kept: number;
  /** Rows that are not trained on: those without a single labelled token, and those that were skipped. */
  dropped: number;
  /** Rows among these that the model's chat template or tokenizer refuses, left out as `on_bad_row` asked. */
  skipped: number;
  /** The first of these. */
  bad_rows: BadRow[];
  /** Rows cut to `max_length`. */
  truncated: number;
  tokens: number;
  labelled_tokens: number;
  /** The longest kept row, in tokens. */
  longest: number;
  /**
   * What is worth knowing of how the rows were read, e.g. "template-drops-text" where the chat template leaves out
   * thoughts, or "answers-cut" where `max_length` cuts rows before anything that is to be learnt.
   */
  notices: Notice[];
}

/** What a run takes on its device: of the GPU's memory, or of the tab's where the processor computes. */
export interface Footprint {
  /** Everything, weights included. */
  peak_gpu_bytes: number;
  /** `adapter` is what learns, of runs of all weights their copies; `optimizer` has its gradients and what is kept of earlier ones. */
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

/** A turn of a chat. */
export interface Message {
  /** Who speaks: "user", "assistant" or "system", as far as the model's chat template knows them. */
  role: string;
  /** What is said. */
  content: string;
  /** Other fields, such as `tool_calls`, are left to the chat template. */
  [field: string]: unknown;
}

/**
 * What is to be answered: the turns of a chat, or a text that is continued as it stands, without the model's
 * chat template.
 */
export type Prompt = Message[] | string | { prompt: string };

export interface GenerateOptions {
  /**
   * Whether the active adapter takes part, or what a run of all weights made of them. By default it does where there is one; true is
   * an error where there is none.
   */
  adapter?: boolean;
  /**
   * Goes on with the last message of a chat, which must be the assistant's, and gives what follows it alone. The chat is cut
   * off right behind what that message says, by the rules of transformers' `apply_chat_template`; a template that leaves out or
   * changes what it says throws `bad-data`. A text is gone on from as it is. Default false.
   */
  continue_final_message?: boolean;
  /** Default 128. */
  max_new_tokens?: number;
  /** Default 0: the likeliest token each time. */
  temperature?: number;
  /**
   * Draws from so many of the likeliest tokens, and from those as likely as the last of them. Default 0: from all, where
   * transformers' default is 50.
   */
  top_k?: number;
  /** Draws from the likeliest tokens that together are as likely as this. Default 1: from all. */
  top_p?: number;
  /** Draws from the tokens that are at least this share as likely as the likeliest. Default 0: from all. */
  min_p?: number;
  /**
   * Above 1 makes tokens less likely that are there already, in the prompt too, and below 1 likelier; the likeliest token is
   * chosen after it too. Default 1: neither.
   */
  repetition_penalty?: number;
  /** The same one draws the same tokens. Default 0. */
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

/** Progress in transformers.js's shape; `progress` is in percent. */
export interface ProgressEvent {
  /**
   * A word to match on: "waiting" for a connection; "initiate", "download", "progress" and "done" of files;
   * "measure" while the GPU's fastest kernels are found; "tokenize" of rows; "reference" of rows that are compared with a
   * reference; "score" of rows whose likelihood is
   * computed; "evaluate" of rows that models are compared by; "compile" while a run's kernels are prepared; "save" while files are written.
   */
  status: string;
  name: string;
  file: string;
  loaded?: number;
  total?: number;
  progress?: number;
  /** Why it waits, where `status` is "waiting". */
  detail?: string;
  /** Rows done so far, where rows are worked on. */
  rows?: number;
  /** At the speed so far. */
  remaining_seconds?: number;
}

export type ProgressCallback = (event: ProgressEvent) => void;

/** The files of a PEFT adapter by name. */
export type AdapterFiles = Record<"adapter_config.json" | "adapter_model.safetensors", Uint8Array<ArrayBuffer>>;

/**
 * What {@link Trainer.save} writes: "safetensors" is the merged model as the folder that transformers reads, "gguf" the
 * merged model as one file for llama.cpp and Ollama, and "lora-gguf" the adapter alone, for llama.cpp's `--lora`. Beside a
 * GGUF lies a Modelfile for Ollama. Of a run of all weights the model is what they became, and there is no adapter.
 */
export type ExportFormat = "safetensors" | "gguf" | "lora-gguf";

/** How {@link Trainer.save} writes a model. */
export interface SaveOptions {
  format: ExportFormat;
  /**
   * What values are written in. Default: what the model's files have; "f32" for an adapter. "q8_0" is a GGUF's alone: 8
   * bits and a scale for 32 values, where 32 does not divide a row "f16". Norms and biases of a GGUF are always "f32".
   */
  dtype?: "f32" | "f16" | "bf16" | "q8_0";
  /**
   * Where it goes: a folder that `showDirectoryPicker({ mode: "readwrite" })` gave, "opfs" for the browser's own storage,
   * or "download". Files are written in pieces as they are made. A download lies in the browser's own storage until the
   * next one; several files are downloaded one by one, which browsers ask about. Files of the same names are written over. The
   * folder that the model was loaded from is refused, because it is still read.
   */
  to: FileSystemDirectoryHandle | "opfs" | "download";
  /**
   * The adapter that takes part; "default" is also what a run of all weights made of them. Default: the active one, or else the
   * run's own; without any the model is written as it is.
   */
  adapter?: string;
  /** The name of a GGUF. Default: "model.gguf", or "adapter.gguf". */
  file?: string;
  /** Ends it as `cancelled`; the file that was being written is removed. */
  signal?: AbortSignal;
  /** Hears of each piece with the status "save". */
  progress_callback?: ProgressCallback;
}

/** A file that {@link Trainer.save} wrote. */
export interface ExportedFile {
  name: string;
  bytes: number;
}

/** What {@link Trainer.save} wrote. */
export interface Exported {
  files: ExportedFile[];
  /** Where they lie. */
  folder: FileSystemDirectoryHandle;
  /** What is worth knowing, e.g. what llama.cpp computes otherwise. */
  notices: string[];
}
