import { TabtuneError, type ErrorCode } from "tabtune";
import { element, show, write } from "./dom.js";
import { MissingInput } from "./inputs.js";

/** What a person can do about it, by code. */
const HINTS: Record<ErrorCode, string> = {
  "webgpu-unavailable": "This browser offers no WebGPU.",
  "out-of-memory": "The GPU has too little memory. Try shorter rows, fewer rows a step, or 4 bits.",
  "device-lost": "The GPU was lost. Reload the page and try again.",
  "unsupported-model": "This kind of model is not supported.",
  "bad-model": "The model's files cannot be used.",
  "bad-data": "The training data cannot be used.",
  "bad-adapter": "The adapter cannot be used.",
  "bad-option": "A setting cannot be used.",
  "not-finite": "The training went astray. Try a lower learning rate.",
  "quota-exceeded": "The browser's storage is full.",
  cancelled: "Stopped.",
  io: "A file could not be read.",
  "bad-state": "That is not possible now.",
  internal: "Something in tabtune broke.",
};

export function showError(thrown: unknown): void {
  const code: ErrorCode = thrown instanceof TabtuneError ? thrown.code : "internal";
  const missing = thrown instanceof MissingInput;
  write("error-hint", missing ? thrown.message : HINTS[code]);
  write("error-message", missing ? "" : thrown instanceof Error ? thrown.message : String(thrown));
  write("error-code", code);
  show("error-message", !missing);
  show("error-code", !missing);
  show("error", true);
  element("error").scrollIntoView({ block: "nearest" });
}

export function clearError(): void {
  show("error", false);
}
