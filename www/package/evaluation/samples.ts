import type { Prompt } from "../types.js";
import type { SampledStep, SampleGrid } from "./types.js";

/** The steps after which prompts are answered: every so many, or after every such share of the run, rounded up. */
export function everySteps(steps: number | undefined, total_steps: number): number | undefined {
  return steps !== undefined && steps < 1 ? Math.ceil(steps * total_steps) : steps;
}

/** Samples as a grid of prompts and steps. */
export function gridOf(sampled: readonly SampledStep[]): SampleGrid {
  const ordered = [...sampled].sort((one, other) => one.step - other.step);
  const prompts = new Map<string, Prompt>();
  for (const { samples } of ordered) for (const { prompt } of samples) prompts.set(keyOf(prompt), prompt);
  const texts = [...prompts.keys()].map((key) => ordered.map(({ samples }) => samples.find(({ prompt }) => keyOf(prompt) === key)?.text ?? null));
  return { prompts: [...prompts.values()], steps: ordered.map(({ step }) => step), texts };
}

/** Two prompts are the same where they are written the same. */
const keyOf = (prompt: Prompt) => JSON.stringify(prompt);
