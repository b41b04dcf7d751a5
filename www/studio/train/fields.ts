import type { LoraConfig, QuantizationConfig, TrainConfig } from "tabtune";
import type { Method } from "./preferences.js";

/** How a run is set up, which is what the settings of the page say. */
export interface Config {
  quantization: QuantizationConfig;
  lora: LoraConfig;
  train: TrainConfig;
}

/** In which bits a model is kept. */
export const IN_BITS = {
  own: { load_in_4bit: false, load_in_8bit: false, requantize: null },
  8: { load_in_4bit: false, load_in_8bit: true, requantize: null },
  4: { load_in_4bit: true, load_in_8bit: false, requantize: null },
  again: { load_in_4bit: true, load_in_8bit: false, requantize: "nf4" },
} as const satisfies Record<string, QuantizationConfig>;

export type Bits = `${keyof typeof IN_BITS}`;

/** The choice of bits that makes such a configuration. */
export function bitsOf({ load_in_4bit, load_in_8bit, requantize }: QuantizationConfig): Bits {
  if (requantize) return "again";
  return load_in_4bit ? "4" : load_in_8bit ? "8" : "own";
}

/** The module that has a vector for each word. */
export const WORDS = "embed_tokens";

/** What the fields of the settings say that a preset has a say in, by their names in the form. */
export interface Fields {
  learns_from: "examples" | "preferences";
  method: Method;
  beta: number;
  trained: "adapter" | "all";
  optim: "adamw_torch" | "sgd" | "adafactor" | "mezo";
  bits: Bits;
  max_steps: number;
  learning_rate: number;
  per_device_train_batch_size: number;
  max_length: number;
  r: number;
  use_dora: boolean;
  learns_words: boolean;
  packing: boolean;
  keeps_best: boolean;
  assistant_only_loss: boolean;
  seed: number;
}

export type FieldName = keyof Fields;

/** What ways to learn are called. */
export const OPTIM_NAMES: Record<Fields["optim"], string> = { adamw_torch: "AdamW", sgd: "SGD", adafactor: "Adafactor", mezo: "MeZO" };

/** Which fields are switches of several words. */
export const CHOICES = ["learns_from", "method", "trained", "optim"] as const satisfies readonly FieldName[];

/** Which fields are numbers. */
export const NUMBERS = ["max_steps", "learning_rate", "per_device_train_batch_size", "max_length", "r", "beta", "seed"] as const satisfies readonly FieldName[];

/** Which fields are ticked or not. */
export const CHECKS = ["use_dora", "learns_words", "packing", "keeps_best", "assistant_only_loss"] as const satisfies readonly FieldName[];

/** What the form calls each field. */
export const FIELD_WORDS: Record<FieldName, string> = {
  learns_from: "What it learns from",
  method: "How preferences count",
  beta: "Beta",
  trained: "What is trained",
  optim: "How it learns",
  bits: "Keep the model in",
  max_steps: "Steps",
  learning_rate: "Learning rate",
  per_device_train_batch_size: "Rows a step",
  max_length: "Longest row",
  r: "LoRA rank",
  use_dora: "DoRA",
  learns_words: "Learn the words too",
  packing: "Pack short rows together",
  keeps_best: "Keep the best",
  assistant_only_loss: "Learn the answers only",
  seed: "Seed",
};
