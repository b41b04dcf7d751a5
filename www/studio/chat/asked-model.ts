import { listedBy, roundedBytes } from "../train/listed.js";
import { modelWords, type ModelName } from "../train/model-name.js";

/** Says which model will answer, and what it takes until it can. */
export function askedModelWords(model: ModelName | undefined, is_loaded: boolean, is_here: boolean): string {
  if (!model) return "No model is chosen yet. Choose one under Train, and talk to it here.";
  const name = modelWords(model);
  const words = `${name.charAt(0).toUpperCase()}${name.slice(1)} answers.`;
  if (is_loaded) return words;
  if (model.kind === "bundled") return `${words} It is a toy that knows some hundred words, comes with this page, and is loaded with your first message.`;
  if (model.kind === "folder") return `${words} It is loaded from your files with your first message.`;
  if (is_here) return `${words} It is in this browser already, and is loaded with your first message.`;
  const size = listedBy(model.name)?.download_bytes;
  return `${words} It is downloaded with your first message${size === undefined ? "; Train tells how large it is" : `: about ${roundedBytes(size)}`}.`;
}
