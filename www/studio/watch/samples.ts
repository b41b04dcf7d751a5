import type { Prompt } from "tabtune";
import { element, heading, make, show } from "../ui/dom.js";

/** What a model answered as it learnt: `texts` has a list for each prompt, with a text for each step that it was asked at. */
export interface Samples {
  prompts: Prompt[];
  steps: number[];
  texts: (string | null)[][];
}

/** How far apart the answers are made, as a share of the run, and how long they get, in tokens. */
export interface Made {
  sample_steps: number;
  sample_max_new_tokens: number;
}

/** Large models take long to answer. */
const SELDOM: Made = { sample_steps: 0.25, sample_max_new_tokens: 48 };

/** A trainer that has prompts answered as it goes, and keeps the answers. */
interface Sampling {
  samples?(): Promise<Samples>;
}

/** What a run is told so that these prompts are answered on its way. */
export function sampleOptions(trainer: object, prompts: Prompt[], made = SELDOM): object {
  const { samples }: Sampling = trainer;
  return samples && prompts.length > 0 ? { sample_prompts: prompts, ...made } : {};
}

/** Shows what was answered on the way of the trainer's run. */
export async function showSamplesOf(trainer: object): Promise<void> {
  showSamples((await (trainer as Sampling).samples?.()) ?? { prompts: [], steps: [], texts: [] });
}

/** Draws the answers to the same prompts side by side, by step. Where there are none, nothing is shown. */
export function showSamples({ prompts, steps, texts }: Samples): void {
  const columns = steps.map((step) => (step === 0 ? "Before" : `Step ${step.toLocaleString("en")}`));
  const head = make("tr", "", ...["Asked", ...columns].map((name) => heading("col", name)));
  const rows = prompts.map((prompt, row) => {
    const cells = steps.map((_, column) => make("td", "", texts[row]?.[column] ?? "–"));
    return make("tr", "", heading("row", wordsOf(prompt)), ...cells);
  });
  const box = element("samples-box");
  const is_at_end = box.scrollLeft + box.clientWidth >= box.scrollWidth - 1;
  element("samples").replaceChildren(make("thead", "", head), make("tbody", "", ...rows));
  show("samples-part", prompts.length > 0 && steps.length > 0);
  // The newest is in sight, unless the person looks at an earlier one.
  if (is_at_end) box.scrollLeft = box.scrollWidth;
}

/** What was asked last. */
function wordsOf(prompt: Prompt): string {
  if (typeof prompt === "string") return prompt;
  return "prompt" in prompt ? prompt.prompt : (prompt.at(-1)?.content ?? "");
}
