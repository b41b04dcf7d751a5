import { fixed } from "../ui/format.js";

/** Points of a curve that are told. */
const MOST = 8;

/** The loss by step in words, for those who do not see the curve. */
export function curveWords(steps: number[], losses: (number | null)[], heldout: (number | null)[]): string {
  const told = [toldOf("Loss", steps, losses), toldOf("Held-out loss", steps, heldout)].filter(Boolean);
  return told.length > 0 ? told.join(" ") : "Loss by step: none yet.";
}

/** How far the answers are apart and how many are in the right order, by step and in words. */
export function rewardWords(steps: number[], margins: (number | null)[], accuracies: (number | null)[]): string {
  return [toldOf("Margin", steps, margins), toldOf("Share in your order", steps, accuracies)].filter(Boolean).join(" ");
}

/** The loss by round in words. */
export function roundWords(rounds: number[], own: (number | null)[], together: (number | null)[]): string {
  const told = [toldOf("Loss after your steps", rounds, own, "round"), toldOf("Loss of all together", rounds, together, "round")].filter(Boolean);
  return told.length > 0 ? told.join(" ") : "Loss by round: none yet.";
}

/** What a run told of anything by step, in words. */
export function valueWords(name: string, steps: number[], values: (number | null)[], words: (value: number) => string): string {
  return toldOf(name, steps, values, "step", words) || `${name} by step: none yet.`;
}

function toldOf(name: string, steps: number[], values: (number | null)[], by = "step", words = fixed): string {
  const places = steps.flatMap((_, place) => (values[place] == null ? [] : [place]));
  if (places.length === 0) return "";
  const every = Math.max(1, Math.ceil((places.length - 1) / (MOST - 1)));
  const shown = places.filter((_, index) => index % every === 0 || index === places.length - 1);
  return `${name} by ${by}: ${shown.map((place) => `${words(values[place]!)} at ${by} ${steps[place]}`).join(", ")}.`;
}
