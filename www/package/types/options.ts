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
   * Of all weights that learn from gradients: read matrices rounded to bf16, and let the optimiser move masters in 32 bits, for
   * a model that will be used in 16 bits. Takes 2 bytes a parameter more. Activations, norms and biases stay in 32 bits. Other
   * runs compute in 32 bits whatever this says, and tell so by a notice. Default false.
   */
  bf16?: boolean;
  /** The same with f16, which is finer and ends at 65504. One of the two may be true. Default false. */
  fp16?: boolean;
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
