import type { Config } from "./fields.js";

/** What an option may be, and so how it is written down. */
export type Kind =
  | { is: "number"; min: number; max?: number; is_whole?: true }
  | { is: "choice"; of: readonly (readonly [value: boolean | string, words: string])[] }
  /** Names with commas between them; where `may_match`, also a regular expression between slashes. */
  | { is: "names"; may_match?: true; suggested: readonly string[] }
  /** Numbers of layers, and ranges of them. */
  | { is: "layers" }
  /** Numbers with commas between them. */
  | { is: "weights" }
  /** A line for each name, with its number behind an equals sign. */
  | { is: "pattern" };

/** An option of the package that has no field of its own on the page. */
export interface Option {
  part: "lora" | "train" | "quantization";
  /** The package's name, which is that of PEFT, transformers, TRL or bitsandbytes. */
  name: string;
  /** What the page calls it. */
  words: string;
  kind: Kind;
  /** What holds where nobody says anything else. */
  usual(config: Config): unknown;
  /** Whether such a run has it. */
  isOf(config: Config): boolean;
}

export interface Group {
  title: string;
  options: readonly Option[];
}

const any = () => true;
const ofAdapter = ({ train }: Config) => train.finetuning_type !== "full";
const inBits = ({ quantization }: Config) => Boolean(quantization.load_in_4bit || quantization.load_in_8bit);
const in4Bits = ({ quantization }: Config) => quantization.load_in_4bit === true;
const byMezo = ({ train }: Config) => train.optim === "mezo";
const byGradient = (config: Config) => !byMezo(config);
const ofAllWeights = (config: Config) => !ofAdapter(config) && byGradient(config);
const byAdamw = ({ train: { optim = "adamw_torch" } }: Config) => optim === "adamw_torch";
const keepingBest = ({ train }: Config) => train.load_best_model_at_end === true;
const by = (...methods: string[]) => (({ train: { method = "sft" } }: Config) => methods.includes(method));

const choice = (...of: [boolean | string, string][]): Kind => ({ is: "choice", of });
const YES_NO = choice([true, "yes"], [false, "no"]);
const decimal = (min = 0, max?: number): Kind => ({ is: "number", min, ...(max !== undefined && { max }) });
const whole = (min: number, max?: number): Kind => ({ is: "number", min, is_whole: true, ...(max !== undefined && { max }) });
const names = (...suggested: string[]): Kind => ({ is: "names", suggested });
const matching = (...suggested: string[]): Kind => ({ is: "names", may_match: true, suggested });

type Usual = Option["usual"] | boolean | string | number | null | readonly string[] | Record<string, never>;

const of = (part: Option["part"], isOf: Option["isOf"]) =>
  (name: string, words: string, kind: Kind, usual: Usual = null): Option => ({ part, name, words, kind, isOf, usual: typeof usual === "function" ? usual : () => usual });

const lora = of("lora", ofAdapter);
const train = (isOf: Option["isOf"]) => of("train", isOf);

/** All of them, in the order in which the page has them. */
export const GROUPS: readonly Group[] = [
  {
    title: "Where the adapter sits",
    options: [
      lora("target_modules", "Layers with an adapter", matching("all-linear", "q_proj, v_proj", "q_proj, k_proj, v_proj, o_proj", "gate_proj, up_proj, down_proj"), "all-linear"),
      lora("exclude_modules", "Layers without one", matching("down_proj", "o_proj")),
      lora("layers_to_transform", "Only in these layers", { is: "layers" }),
      lora("layers_pattern", "What stands before a layer's number", names("layers")),
      lora("rank_pattern", "Other ranks", { is: "pattern" }, {}),
      lora("alpha_pattern", "Other alphas", { is: "pattern" }, {}),
    ],
  },
  {
    title: "What learns beside the adapter",
    options: [
      lora("modules_to_save", "Modules that learn whole", names("norm", "lm_head", "norm, lm_head"), []),
      lora("bias", "Biases that learn", choice(["none", "none"], ["lora_only", "those of layers with an adapter"], ["all", "all of them"]), "none"),
    ],
  },
  {
    title: "The adapter itself",
    options: [
      lora("lora_alpha", "Alpha", decimal(0.001), ({ lora: { r = 8 } }: Config) => 2 * r),
      lora("lora_dropout", "Dropout", decimal(0, 0.99), 0),
      lora("init_lora_weights", "How it starts", choice([true, "evenly spread"], ["gaussian", "by a bell curve"], [false, "both halves by chance"]), true),
      lora("use_rslora", "Count by the root of the rank", YES_NO, false),
      lora("freeze_a", "Learn one half of it", YES_NO, false),
    ],
  },
  {
    title: "How the model is kept",
    options: [
      of("quantization", inBits)("llm_int8_skip_modules", "Layers that stay exact", names("o_proj", "down_proj")),
      of("quantization", in4Bits)("bnb_4bit_use_double_quant", "Scales in 8 bits", YES_NO, true),
      of("quantization", in4Bits)("bnb_4bit_compute_dtype", "Weights are multiplied in", choice(["float16", "16 bits where quicker"], ["float32", "32 bits"]), "float16"),
    ],
  },
  {
    title: "How all weights are read",
    options: [
      train(ofAllWeights)("bf16", "Rounded to BF16", YES_NO, false),
      train(ofAllWeights)("fp16", "Rounded to F16", YES_NO, false),
    ],
  },
  {
    title: "How preferences count",
    options: [
      train(by("dpo"))("loss_type", "What DPO lowers", names("sigmoid", "hinge", "ipo", "robust", "apo_zero", "apo_down", "sigmoid, sft"), ["sigmoid"]),
      train(by("dpo"))("loss_weights", "What each of these weighs", { is: "weights" }),
      train(by("dpo", "cpo", "simpo"))("label_smoothing", "Picks that may be wrong", decimal(0, 0.499), 0),
      train(by("simpo"))("simpo_gamma", "How far ahead", decimal(-1000), ({ train: { beta = 2 } }: Config) => beta / 2),
      train(by("cpo"))("cpo_alpha", "Weight of the liked answers", decimal(), 1),
      train(by("kto"))("desirable_weight", "Weight of good answers", decimal(), 1),
      train(by("kto"))("undesirable_weight", "Weight of bad answers", decimal(), 1),
      train(by("dpo", "kto"))("reference", "Compared with", choice(["base", "the model alone"], ["start", "what the run starts from"]), "base"),
      train(by("dpo", "kto"))("precompute_ref_log_probs", "Look at it once before", YES_NO, true),
    ],
  },
  {
    title: "Without a gradient",
    options: [
      train(byMezo)("zo_eps", "How far it tries", decimal(1e-9), 1e-3),
      train(byMezo)("zo_num_samples", "Directions a step tries", whole(1, 8), 1),
      train(byMezo)("mezo_objective", "What it lowers", choice(["loss", "the loss"], ["exact_match", "answers that are not exactly right"]), "loss"),
    ],
  },
  {
    title: "How each step goes",
    options: [
      train(any)("gradient_accumulation_steps", "Batches a step", whole(1), 1),
      train(any)("lr_scheduler_type", "How the rate falls", choice(["cosine", "along a curve"], ["linear", "evenly"], ["constant", "not at all"], ["constant_with_warmup", "not at all, after the warm-up"]), "cosine"),
      train(any)("warmup_steps", "Steps of warm-up", decimal(), 5),
      train(any)("weight_decay", "Pull towards nothing", decimal(), 0),
      train(byGradient)("max_grad_norm", "Longest gradient", decimal(), 1),
      train(byAdamw)("adam_beta1", "Memory of directions", decimal(0, 0.99999999), 0.9),
      train(byAdamw)("adam_beta2", "Memory of sizes", decimal(0, 0.99999999), 0.999),
      train(byAdamw)("adam_epsilon", "Smallest size", decimal(), 1e-8),
      train(any)("shuffle_dataset", "Mix the rows", YES_NO, true),
      train((config) => !by("kto")(config))("group_by_length", "Like lengths together", YES_NO, false),
    ],
  },
  {
    title: "Measured and kept on the way",
    options: [
      train(any)("eval_steps", "Steps between measurements", decimal(1e-6), ({ train: { max_steps = 10 } }: Config) => everyTenth(max_steps)),
      train(any)("max_eval_samples", "Held-out rows that are measured", whole(1)),
      train((config) => keepingBest(config) && !by("sft")(config))("metric_for_best_model", "What the best is told by", choice(["loss", "the loss"], ["rewards/accuracies", "pairs that are ranked right"], ["rewards/margins", "how far apart they are"]), "loss"),
      train(keepingBest)("greater_is_better", "More of it is better", YES_NO),
      train(byGradient)("gradient_checkpointing", "Compute twice to save memory", choice(["auto", "where it would not fit"], [true, "always"], [false, "never"]), "auto"),
      train(any)("save_steps", "Save every so many steps", decimal(1e-6)),
      train(any)("save_seconds", "Save after seconds", decimal(1), 60),
      train(any)("save_total_limit", "Saved steps that are kept", whole(1), 2),
      train(any)("on_not_finite", "When it goes astray", choice(["rewind", "go back, and slower"], ["stop", "stop"]), "rewind"),
    ],
  },
];

export const OPTIONS: readonly Option[] = GROUPS.flatMap(({ options }) => options);

/** About ten held-out points make a curve. */
export function everyTenth(max_steps: number): number {
  return Math.max(1, Math.round(max_steps / 10));
}

/** Tells an option from those of other parts. */
export function keyOf({ part, name }: Option): string {
  return `${part}.${name}`;
}
