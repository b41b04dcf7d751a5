import { bytes } from "../ui/format.js";
import type { Config, Fields } from "./fields.js";
import { fewestRows } from "./presets.js";

/** Browsers tell no more memory than this, however much there is. */
const MOST_TOLD_GB = 8;

/** What a computer of the last ten years has to spare, where the browser tells nothing. */
const SURE_UNTOLD = 2e9;

/** What the processor's engine can address. */
const PROCESSOR_MOST = 2 ** 32;

/** Memory that a run can have. */
export interface Room {
  /** So much there surely is. */
  sure: number;
  /** More there cannot be; undefined where nobody knows. */
  most: number | undefined;
}

export type Fit = "fits" | "may not fit" | "too large here";

/**
 * The room for a run. `device_gb` is the memory that the browser tells; undefined where it tells nothing. No browser tells a
 * GPU's own, which on most computers is a part of all. The system and the page need half.
 */
export function roomFor(device_gb: number | undefined, is_processor: boolean): Room {
  const told = device_gb === undefined ? undefined : device_gb * 1e9;
  const sure = told === undefined ? SURE_UNTOLD : told / 2;
  const most = device_gb !== undefined && device_gb < MOST_TOLD_GB ? told : undefined;
  return is_processor ? { sure, most: Math.min(most ?? Infinity, PROCESSOR_MOST) } : { sure, most };
}

export function fitOf(taken: number, { sure, most }: Room): Fit {
  if (most !== undefined && taken > most) return "too large here";
  return taken <= sure ? "fits" : "may not fit";
}

/** How much of the room is taken, for a bar that is full where nothing more fits. */
export function shareOf(taken: number, { sure, most }: Room): number {
  return Math.min(1, taken / (most ?? 2 * sure));
}

/** Why, for people. */
export function fitWords(fit: Fit, { sure, most }: Room): string {
  if (fit === "too large here") return `Too large here: this tab can have ${bytes(most!)} at most.`;
  return fit === "fits" ? "Fits." : `May not fit: about ${bytes(sure)} of memory can be counted on here.`;
}

/** Something that makes a run take less. */
export interface Mend {
  words: string;
  fields: Partial<Fields>;
}

/** What makes a run take less, from what costs least: each is one click. */
export function mendsFor({ train, quantization }: Pick<Config, "train" | "quantization">): Mend[] {
  const all = train.finetuning_type === "full";
  const method = train.method === "sft" ? undefined : train.method;
  const rows = train.per_device_train_batch_size ?? 1;
  const length = train.max_length ?? 0;
  const fewest = fewestRows(method);
  const mends: Mend[] = [];
  if (all) mends.push({ words: "Train an adapter", fields: { trained: "adapter" } });
  if (!all && !quantization.load_in_4bit) mends.push({ words: "Keep the model in 4 bits", fields: { bits: "4" } });
  if (rows > fewest) {
    const words = fewest === 1 ? "One row a step" : `${fewest} rows a step`;
    mends.push({ words, fields: { per_device_train_batch_size: fewest } });
  }
  if (length > 128) {
    const shorter = Math.max(128, 2 ** Math.floor(Math.log2(length - 1)));
    mends.push({ words: `Rows of at most ${shorter} tokens`, fields: { max_length: shorter } });
  }
  if (method === undefined && train.optim !== "mezo") mends.push({ words: "Learn without a gradient (MeZO)", fields: { optim: "mezo" } });
  return mends;
}
