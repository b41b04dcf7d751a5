import type { ErrorCode, Notice } from "tabtune";
import { namedIn } from "../train/finer.js";
import { count } from "../ui/format.js";

/** What a person can do about an error, by code. */
const HINTS: Partial<Record<ErrorCode, string>> = {
  "webgpu-unavailable": "There is no GPU here. Choose “Automatic” or “Processor” under “Runs on”.",
  "cpu-unavailable": "This browser is too old to compute on the processor. Update it.",
  "out-of-memory": "There is too little memory. Try shorter rows, fewer rows a step, 4 bits, or an adapter in place of all weights.",
  "device-lost": "What computes was lost and did not come back. Reload the page and try again.",
  "unsupported-model": "This kind of model is not supported.",
  "bad-model": "The model's files cannot be used.",
  "bad-data": "The training data cannot be used.",
  "bad-adapter": "The adapter cannot be used.",
  "bad-option": "A setting cannot be used.",
  "not-finite": "The training went astray. Try a lower learning rate.",
  "quota-exceeded": "The browser's storage is full. Open the Library and free some room.",
  cancelled: "Stopped.",
  io: "A file could not be read, written or downloaded.",
  "federation-unreachable": "The server of the federation cannot be reached.",
  "federation-refused": "The server of the federation does not let this browser take part.",
  "federation-expired": "The server of the federation no longer waits for this.",
  "federation-protocol": "The server of the federation answers what nobody can understand.",
  "bad-state": "That is not possible now.",
  unsupported: "This browser cannot do that.",
  internal: "Something in tabtune broke.",
};

/** What browsers, and the package, say of a request that got no answer. */
export const NO_NETWORK = /Failed to fetch|NetworkError|Load failed|no answer came|you are offline/;

/** What to say of an error to a person, before its own message. */
export function hintOf(code: ErrorCode, message: string, is_online: boolean): string {
  const is_of_network = (code === "io" || code === "internal") && NO_NETWORK.test(message);
  if (is_of_network && !is_online) return "You are offline. Connect to the network, and try again. What was downloaded before works without.";
  if (is_of_network) return "The network gives no answer. Are you online? Then the server may be down; try again later.";
  const named = code === "bad-option" ? namedIn(message) : undefined;
  if (named) return `A setting cannot be used: look at “${named.words}” under Settings.`;
  return HINTS[code] ?? "Something in tabtune broke.";
}

/** What is left of a run that broke off. */
export function savedWords(step: number): string {
  if (step === 0) return "Nothing of this run was saved yet.";
  return `What it had learnt until step ${step.toLocaleString("en")} is saved. You find it in the Library.`;
}

/** How a run came to its end. */
export interface End {
  step: number;
  total_steps: number;
  is_stopped: boolean;
  /** Whether it ended because held-out rows got no better. */
  is_early: boolean;
  /** The step whose weights it went back to; undefined where it did not. */
  best_step: number | undefined;
}

export function endWords({ step, total_steps, is_stopped, is_early, best_step }: End): string {
  if (is_stopped && step < total_steps) return `Stopped after ${count(step, "step")}.`;
  const of = `${step.toLocaleString("en")} of ${count(total_steps, "step")}`;
  const end = is_early ? `Ended after ${of}: the held-out rows got no better.` : `Done: ${count(step, "step")}.`;
  if (best_step === undefined) return end;
  const when = best_step === 0 ? "before the first step" : `after step ${best_step.toLocaleString("en")}`;
  return `${end} The model is as it was ${when}, where it did best on the held-out rows.`;
}

/** Of notices about rows whose own message names options, by code: what follows on how many rows there are. */
const OF_ROWS: Record<string, string> = {
  "prompts-cut":
    "left out: what was said before the answer is longer than “Longest row”. Raise that under Settings, or begin a new chat " +
    "more often while you pick.",
  "answers-cut": "left out: all that is to be learnt lies behind “Longest row”. Raise that under Settings.",
  "ratings-not-used": "rated bad, and learnt like good ones. To learn from ratings choose “Preferences” under “What it learns from”.",
};

/** A notice in the words of the page. */
export function noticeWords({ code, message }: Notice): string {
  const rows = /^\d+ rows?/.exec(message)?.[0];
  const words = OF_ROWS[code];
  return rows && words ? `${rows} ${words}` : message;
}
