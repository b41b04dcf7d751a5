import { bytes, duration } from "../ui/format.js";
import type { Across, Metric } from "./run-log.js";

/** What a chart shows of each run. */
export interface Subject {
  metric: Metric;
  name: string;
  /** Whether it may be drawn smoothly; what is set or counted is not. */
  smooths: boolean;
  words(value: number): string;
}

export const LOSS: Subject = { metric: "loss", name: "Loss", smooths: true, words: (loss) => loss.toFixed(3) };

/** What the second chart can show, with a short word for each. */
export const SECOND = {
  learning_rate: { metric: "learning_rate", name: "Learning rate", short: "Rate", smooths: false, words: digits },
  grad_norm: { metric: "grad_norm", name: "Gradient norm", short: "Gradient", smooths: true, words: digits },
  tokens_per_second: { metric: "tokens_per_second", name: "Tokens/s", short: "Tokens/s", smooths: true, words: (speed) => Math.round(speed).toLocaleString("en") },
  memory: { metric: "memory", name: "Memory", short: "Memory", smooths: false, words: bytes },
} as const satisfies Record<string, Subject & { short: string }>;

export type SecondName = keyof typeof SECOND;

/** A place on the horizontal axis in words. */
export const ACROSS_WORDS: Record<Across, (value: number) => string> = {
  steps: (step) => step.toLocaleString("en"),
  seconds: duration,
  tokens: (tokens) => (tokens < 10_000 ? tokens.toLocaleString("en") : `${Number((tokens / 1000).toPrecision(3)).toLocaleString("en")}k`),
};

/** 0.0000123 → "1.23e-5", 0.5 → "0.5" */
function digits(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 1e-3 ? value.toExponential().replace(/^(-?\d(?:\.\d{1,2})?)\d*/, "$1") : String(Number(value.toPrecision(3)));
}
