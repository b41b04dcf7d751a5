import type { GenerateOptions } from "tabtune";
import { LONGEST_ANSWER } from "../work/streaming.js";

/** How the answers of a chat are made, as the person set it. */
export interface Manner {
  /** 0 takes the likeliest word each time. */
  temperature: number;
  /** 0 is all words. */
  top_k: number;
  top_p: number;
  min_p: number;
  repetition_penalty: number;
  /** In tokens. */
  longest: number;
  /** The same seed draws the same words; null draws anew each time. */
  seed: number | null;
}

/** How one answer was made, so that it can go on in the same way. */
export type How = Pick<GenerateOptions, "adapter" | "temperature" | "top_k" | "top_p" | "min_p" | "repetition_penalty" | "seed" | "max_new_tokens">;

/** By what two answers differ: one keeps to what is likely and the other strays, or one is from before anything was learnt. */
export type Difference = "temperature" | "learnt";

export const USUAL: Manner = { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, longest: LONGEST_ANSWER, seed: null };

/** The longest answer that can be asked for. */
export const MOST_TOKENS = 8192;

/** More different tokens than any model has. */
export const MOST_KINDS = 1_000_000;

/** How freely another answer is drawn than the one that was there, where the likeliest words would give the same. */
const ANOTHER = 0.7;

/** How many seeds there are: the page draws by a number of 32 bits. */
const SEEDS = 2 ** 32;

/** Keeps what a person wrote within what the engine takes; what is no number, or is not there, is as usual. */
export function mannerIn(written: Partial<Manner>): Manner {
  const within = (value: unknown, low: number, high: number, usual: number) =>
    typeof value === "number" && Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : usual;
  const { seed } = written;
  return {
    temperature: within(written.temperature, 0, 5, USUAL.temperature),
    top_k: Math.round(within(written.top_k, 0, MOST_KINDS, USUAL.top_k)),
    top_p: within(written.top_p, 0.01, 1, USUAL.top_p),
    min_p: within(written.min_p, 0, 1, USUAL.min_p),
    repetition_penalty: within(written.repetition_penalty, 0.1, 10, USUAL.repetition_penalty),
    longest: Math.round(within(written.longest, 1, MOST_TOKENS, USUAL.longest)),
    seed: typeof seed === "number" && Number.isFinite(seed) ? Math.round(within(seed, 0, SEEDS - 1, 0)) : null,
  };
}

/** An answer in that manner. Its seed is written down wherever words are drawn. */
export function howOf({ temperature, top_k, top_p, min_p, repetition_penalty, longest, seed }: Manner, draw: () => number = anySeed): How {
  const among = { ...(top_k > 0 && { top_k }), ...(top_p < 1 && { top_p }), ...(min_p > 0 && { min_p }) };
  const drawn = temperature > 0 ? { seed: seed ?? draw(), ...among } : {};
  return { temperature, max_new_tokens: longest, ...(repetition_penalty !== 1 && { repetition_penalty }), ...drawn };
}

/** How such an answer goes on. By its own seed it would be drawn as at its beginning. */
export function onwards(how: How): How {
  return how.seed === undefined ? how : { ...how, seed: (how.seed + 1) % SEEDS };
}

/** An answer that may well be another one than the manner gave before. */
export function anotherOf(manner: Manner, draw: () => number = anySeed): How {
  return howOf({ ...manner, temperature: manner.temperature > 0 ? manner.temperature : ANOTHER, seed: null }, draw);
}

/** Two answers to pick from. */
export function twoManners(by: Difference, has_learnt: boolean, longest: number, draw: () => number = anySeed): [How, How] {
  const how = (more: How): How => ({ ...more, max_new_tokens: longest, seed: draw() });
  if (by === "learnt" && has_learnt) return [how({ adapter: false, temperature: 0.3 }), how({ adapter: true, temperature: 0.3 })];
  return [how({ temperature: 0.3 }), how({ temperature: 1 })];
}

function anySeed(): number {
  return Math.floor(Math.random() * SEEDS);
}
