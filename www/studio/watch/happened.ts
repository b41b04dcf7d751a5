import type { RunEvent } from "tabtune";
import { count, duration } from "../ui/format.js";

/** How an event looks on the bar; events without a mark are in the list alone. */
export type Mark = "saved" | "paused" | "rest" | "hidden" | "lost" | "skipped" | "failed";

export const MARK_NAMES: Record<Mark, string> = {
  saved: "saved",
  paused: "paused",
  rest: "rested",
  hidden: "tab hidden",
  lost: "no answer",
  skipped: "step left out",
  failed: "not saved",
};

const MARKS: Partial<Record<RunEvent["type"], Mark>> = {
  checkpoint: "saved",
  "checkpoint-failed": "failed",
  "storage-cleared": "failed",
  paused: "paused",
  resting: "rest",
  hidden: "hidden",
  "device-lost": "lost",
  unresponsive: "lost",
  skipped: "skipped",
  rewound: "skipped",
};

const WORDS: Record<RunEvent["type"], string> = {
  policy: "When to rest",
  started: "Started",
  resumed: "Taken up again",
  checkpoint: "Saved",
  "checkpoint-failed": "Could not be saved, and goes on",
  "storage-cleared": "The browser has cleared its storage",
  paused: "Paused",
  continued: "Goes on",
  hidden: "The tab is hidden, and may be slowed down",
  visible: "The tab is visible again",
  resting: "Rests",
  rested: "Goes on after its rest",
  skipped: "A step was left out",
  rewound: "Went back",
  "device-lost": "What computes was lost, and is asked for again",
  unresponsive: "The engine does not answer",
  recovered: "The engine is back",
  notice: "Worth knowing",
  waiting: "Waits",
  sampled: "Answered its prompts",
  "early-stopped": "Ended, because it got no better",
  "best-loaded": "Went back to the best",
  finished: "Finished",
  stopped: "Stopped",
};

/** What the page has the best be judged by. */
const BEST_WORDS = "the least held-out loss was";

/** Reasons that say more than the word of the event, where it carries no words of its own. */
const REASONS: Record<string, string> = { left: "it was left" };

export function markOf({ type }: RunEvent): Mark | undefined {
  return MARKS[type];
}

/** What happened, in words. */
export function wordsOf({ type, reason, detail, seconds, best, sampled }: RunEvent): string {
  if (best) return `${WORDS[type]}: ${BEST_WORDS} ${best.value.toFixed(3)}, after ${best.step === 0 ? "no step" : `step ${best.step}`}.`;
  if (sampled) return `Answered ${count(sampled.samples.length, "prompt")}.`;
  const why = type === "stopped" && reason === "cancelled" ? "you asked for it" : (detail ?? REASONS[reason ?? ""]);
  const next = seconds === undefined ? "" : `; looks again in ${duration(seconds)}`;
  return `${WORDS[type]}${why ? `: ${why}` : ""}${next}.`;
}
