import { TabtuneError, type ErrorCode } from "tabtune";
import { element, show, write } from "./dom.js";

/** What a person can do about it, by code. */
const HINTS: Record<ErrorCode, string> = {
  "webgpu-unavailable": "This browser offers no WebGPU.",
  "out-of-memory": "The GPU has too little memory. Try shorter rows, fewer rows a step, or 4 bits.",
  "device-lost": "The GPU was lost and did not come back. Reload the page; a run goes on from what it has saved.",
  "unsupported-model": "This kind of model is not supported.",
  "bad-model": "The model's files cannot be used.",
  "bad-data": "The training data cannot be used.",
  "bad-adapter": "The adapter cannot be used.",
  "bad-option": "A setting cannot be used.",
  "not-finite": "The training went astray. Try a lower learning rate.",
  "quota-exceeded": "The browser's storage is full. Delete rows that you no longer need under “Kept”, or models under “Hub”.",
  cancelled: "Stopped.",
  io: "A file could not be read or downloaded.",
  "bad-state": "That is not possible now.",
  internal: "Something in tabtune broke.",
};

/** A choice that is missing, said in words for the person. */
export class MissingInput extends Error {}

/** Whether something ended because it was asked to, be it by the package or by the browser. */
export function isCancelled(thrown: unknown): boolean {
  if (thrown instanceof DOMException) return thrown.name === "AbortError";
  return thrown instanceof TabtuneError && thrown.code === "cancelled";
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The code of anything thrown. What the page itself asked for and did not get is a TypeError of the browser. */
function codeOf(thrown: unknown): ErrorCode {
  if (thrown instanceof TabtuneError) return thrown.code;
  return thrown instanceof TypeError && /^(Failed to fetch|NetworkError|Load failed)/.test(thrown.message) ? "io" : "internal";
}

export function showError(thrown: unknown): void {
  const code = codeOf(thrown);
  const missing = thrown instanceof MissingInput;
  const hint = code === "io" && !navigator.onLine ? "You are offline. What has to be downloaded can be had once there is a network." : HINTS[code];
  write("error-hint", missing ? thrown.message : hint);
  write("error-message", missing ? "" : messageOf(thrown));
  write("error-code", code);
  show("error-message", !missing);
  show("error-code", !missing);
  show("error", true);
  element("error").scrollIntoView({ block: "nearest" });
}

export function clearError(): void {
  show("error", false);
}
