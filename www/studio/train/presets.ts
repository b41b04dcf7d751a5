import type { RowKind } from "../chat/preference-rows.js";
import { bitsOf, FIELD_WORDS, OPTIM_NAMES, WORDS, type Config, type FieldName, type Fields } from "./fields.js";
import { BETA, LONGER_ROWS, METHOD_NAMES, SHORTER_STEPS, type Method } from "./preferences.js";

/** Ways to train in the words of what a person wants. */
export type PresetName = "facts" | "prefer" | "small" | "best" | "quick";

export interface Preset {
  title: string;
  /** Which kinds of rows it suits best. */
  suits: readonly RowKind[];
  /** What it learns from, whatever the rows are; "rows" follows them. */
  learns_from: "examples" | "preferences" | "rows";
  /** What it has other than the usual settings for the model and for such rows. */
  fields(usual: Fields): Partial<Fields>;
}

/** MeZO's steps against those of AdamW for an adapter: many more, and shorter ones, because a slope says little of the way. */
export const MEZO = { more_steps: 10, adapter_rate: 0.15, all_rate: 0.05 };

/** Steps after which something can be seen, and none too many are waited for. */
const QUICK_STEPS = 20;

/** KTO holds each row against others of its step. */
export function fewestRows(method: string | undefined): number {
  return method === "kto" ? 2 : 1;
}

export const PRESETS: Record<PresetName, Preset> = {
  facts: {
    title: "Teach facts and style from examples",
    suits: ["examples"],
    learns_from: "examples",
    fields: () => ({}),
  },
  prefer: {
    title: "Learn what I prefer",
    suits: ["pairs", "ratings"],
    learns_from: "preferences",
    fields: () => ({}),
  },
  small: {
    title: "As small as possible",
    suits: [],
    learns_from: "rows",
    fields: ({ learns_from, method, r, max_steps, learning_rate }) => {
      // Preferences have no run without a gradient, so that the adapter is made smaller there.
      if (learns_from === "preferences") return { bits: "4", per_device_train_batch_size: fewestRows(method), r: Math.min(r, 4) };
      const mezo = { optim: "mezo", max_steps: max_steps * MEZO.more_steps, learning_rate: round(learning_rate * MEZO.adapter_rate) } as const;
      return { bits: "4", per_device_train_batch_size: 1, ...mezo };
    },
  },
  best: {
    title: "As good as it gets",
    suits: [],
    learns_from: "rows",
    fields: ({ r, max_steps }) => ({ bits: "own", use_dora: true, r: 2 * r, max_steps: 2 * max_steps }),
  },
  quick: {
    title: "A quick try",
    suits: [],
    learns_from: "rows",
    fields: ({ max_steps }) => ({ max_steps: Math.min(QUICK_STEPS, max_steps) }),
  },
};

export function isPreset(name: unknown): name is PresetName {
  return typeof name === "string" && Object.hasOwn(PRESETS, name);
}

/** The preset for rows of that kind, unless a person wants something else. */
export function presetFor(kind: RowKind): PresetName {
  return kind === "examples" ? "facts" : "prefer";
}

/** What the settings say with that preset, for a model whose usual settings are `base` and for rows of that kind. */
export function fieldsOf(name: PresetName, base: Config, kind: RowKind): Fields {
  const { learns_from, fields } = PRESETS[name];
  const usual = usualFields(base);
  const wants_examples = learns_from === "examples" || (learns_from === "rows" && kind === "examples");
  const fitting = wants_examples ? usual : { ...usual, ...preferring(usual, kind) };
  return { ...fitting, ...fields(fitting) };
}

/** Fields that are other than with the preset, as far as they count. */
export function changedFrom(preset: Fields, now: Fields): FieldName[] {
  const counts = (name: FieldName) => {
    if (name === "method" || name === "beta") return now.learns_from === "preferences";
    if (name === "r" || name === "use_dora" || name === "learns_words" || name === "bits") return now.trained === "adapter";
    return true;
  };
  return (Object.keys(FIELD_WORDS) as FieldName[]).filter((name) => counts(name) && !isSame(preset[name], now[name]));
}

/** For people. */
export function changedWords(names: readonly FieldName[]): string[] {
  return names.map((name) => FIELD_WORDS[name]);
}

function isSame(a: Fields[FieldName], b: Fields[FieldName]): boolean {
  // A field for numbers shows them rounded.
  return typeof a === "number" && typeof b === "number" ? round(a) === round(b) : a === b;
}

function round(value: number): number {
  return Number(value.toPrecision(6));
}

function usualFields({ train, lora, quantization }: Config): Fields {
  return {
    learns_from: "examples",
    method: "dpo",
    beta: BETA.usual,
    trained: "adapter",
    optim: "adamw_torch",
    bits: bitsOf(quantization),
    max_steps: train.max_steps ?? 100,
    learning_rate: train.learning_rate ?? 2e-4,
    per_device_train_batch_size: train.per_device_train_batch_size ?? 1,
    max_length: train.max_length ?? 256,
    r: lora.r ?? 8,
    use_dora: lora.use_dora ?? false,
    learns_words: lora.modules_to_save?.includes(WORDS) ?? false,
    packing: train.packing ?? false,
    keeps_best: false,
    assistant_only_loss: train.assistant_only_loss ?? false,
    seed: train.seed ?? 42,
  };
}

/** What the fields say where they make such a run, as far as it has them. */
export function fieldsIn(config: Config): Partial<Fields> {
  const { method = "sft", optim = "adamw_torch", beta = BETA.usual, load_best_model_at_end: keeps_best = false } = config.train;
  const { bits, r, use_dora, learns_words, assistant_only_loss, method: _, beta: __, optim: ___, ...usual } = usualFields(config);
  const way = config.train.finetuning_type === "full" ? { trained: "all" as const } : { trained: "adapter" as const, bits, r, use_dora, learns_words };
  // What came from elsewhere may name what this page does not know.
  const known = Object.hasOwn(OPTIM_NAMES, optim) ? { optim } : {};
  const from = !Object.hasOwn(METHOD_NAMES, method) ? { learns_from: "examples" as const, assistant_only_loss } : { learns_from: "preferences" as const, method: method as Method, beta };
  return { ...usual, keeps_best, ...known, ...way, ...from };
}

/** What preferences want otherwise than examples. */
function preferring(usual: Fields, kind: RowKind): Partial<Fields> {
  const method = kind === "ratings" ? "kto" : "dpo";
  return {
    learns_from: "preferences",
    method,
    learning_rate: round(usual.learning_rate / SHORTER_STEPS),
    max_length: LONGER_ROWS * usual.max_length,
    per_device_train_batch_size: Math.max(usual.per_device_train_batch_size, fewestRows(method)),
  };
}
