import { bytes } from "../ui/format.js";
import { listedBy } from "./listed.js";
import { modelWords, type ModelName } from "./model-name.js";
import { timeWords, type Seconds } from "./time.js";

/** What is about to happen. */
export interface Summary {
  /** What the model is called. */
  model: string;
  /** What the rows are called. */
  rows: string;
  /** Bytes that the run takes; undefined while that is not known. */
  peak: number | undefined;
  time: Seconds | undefined;
}

/** What a run is, in a sentence. */
export function summaryWords({ model, rows, peak, time }: Summary): string {
  const takes = [...(peak === undefined ? [] : [`about ${roundly(peak)} of memory`]), ...(time ? [timeWords(time)] : [])];
  return `${model} learns from ${rows}${takes.length > 0 ? `: ${takes.join(", ")}` : ""}.`;
}

/** What the model is called in a sentence. */
export function modelInSentence(name: ModelName): string {
  if (name.kind === "bundled") return "The bundled toy";
  const listed = name.kind === "hub" ? listedBy(name.name) : undefined;
  return listed?.name ?? modelWords(name);
}

/** An estimate has no more figures than it knows. */
function roundly(count: number): string {
  return bytes(Number(count.toPrecision(2))).replace(".0 ", " ").replace(/(\.\d)0 /, "$1 ");
}
