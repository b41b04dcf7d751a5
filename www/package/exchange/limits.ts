import { failure, type TabtuneError } from "../errors.js";
import type { AdapterFiles } from "../types.js";

/** The name of the one file that lies beside those of PEFT. */
export const CARD_FILE = "tabtune_card.json";

/** PEFT's files, which a card is about. */
export const PEFT_FILES = ["adapter_config.json", "adapter_model.safetensors"] as const;

/** An adapter as people pass it on: PEFT's two files, and perhaps a card beside them. */
export type ExchangedFiles = AdapterFiles & Partial<Record<typeof CARD_FILE, Uint8Array<ArrayBuffer>>>;

/** The name of a file of an adapter; there are no others. */
export type ExchangedName = keyof ExchangedFiles;

/** How much is taken from outside. */
export interface ExchangeLimits {
  /** The most bytes of `adapter_model.safetensors`. Default 1 GiB. */
  bytes?: number;
}

const DEFAULT_BYTES = 2 ** 30;

/** The most bytes of each file. The config's are those that the engine reads. */
export function mostBytes({ bytes = DEFAULT_BYTES }: ExchangeLimits): Record<ExchangedName, number> {
  if (!(Number.isSafeInteger(bytes) && bytes > 0)) throw failure("bad-option", `limits.bytes is ${bytes}, not a positive whole number`);
  return { "adapter_config.json": 2 ** 20, "adapter_model.safetensors": bytes, [CARD_FILE]: 2 ** 16 };
}

/** The highest rank, which is also the engine's. */
export const MOST_RANK = 512;
/** A model of 100 layers that is adapted everywhere, with magnitudes, has some thousands. */
export const MOST_TENSORS = 100_000;
/** Entries of `target_modules` and of other lists in a config, and characters of each. */
export const MOST_NAMES = 10_000;
export const LONGEST_NAME = 512;
/** Characters of a regular expression in a config. */
export const LONGEST_PATTERN = 16_384;

/** What is wrong with an adapter that came from outside. */
export function badAdapter(message: string): TabtuneError {
  return failure("bad-adapter", message);
}

/** Whether that is the name of one of an adapter's files. */
export function isExchanged(name: string): name is ExchangedName {
  return name === CARD_FILE || (PEFT_FILES as readonly string[]).includes(name);
}

/** Throws `bad-adapter` for a file that is none of an adapter's, or is too large. */
export function checkFile(name: string, bytes: number, limits: ExchangeLimits): asserts name is ExchangedName {
  if (!isExchanged(name)) {
    throw badAdapter(`${shown(name)} is no file of an adapter; it has ${PEFT_FILES.join(" and ")}, and perhaps ${CARD_FILE}`);
  }
  const most = mostBytes(limits)[name];
  if (bytes > most) throw badAdapter(`${name} has ${bytes} bytes, more than the ${most} that are taken`);
}

/** Throws `bad-adapter`, naming it, where one of PEFT's files is missing. */
export function complete(files: Partial<ExchangedFiles>): ExchangedFiles {
  const missing = PEFT_FILES.find((name) => files[name] === undefined);
  if (missing !== undefined) throw badAdapter(`${missing} is missing`);
  return files as ExchangedFiles;
}

/** A text from outside in a message: quoted and short. */
export function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** Lets the page go on for a moment, between the pieces of long work. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}
