import { TabtuneError, type ErrorCode } from "tabtune";
import { element, say, show, write } from "../ui/dom.js";
import { MissingInput } from "../ui/missing.js";
import type { Outcome } from "./busy.js";
import { reveal } from "./places.js";
import { hintOf, NO_NETWORK } from "./words.js";

/** Whether something ended because it was asked to, be it by the package or by the browser. */
export function isCancelled(thrown: unknown): boolean {
  if (thrown instanceof DOMException) return thrown.name === "AbortError";
  return thrown instanceof TabtuneError && thrown.code === "cancelled";
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** What the browser says of its storage, and of files that were changed or taken away. */
const OF_BROWSER: Partial<Record<string, ErrorCode>> = { QuotaExceededError: "quota-exceeded", NotFoundError: "io", NotReadableError: "io", NotAllowedError: "io" };

/** The code of anything thrown. What the page itself asked for and did not get is a TypeError of the browser. */
export function codeOf(thrown: unknown): ErrorCode {
  if (thrown instanceof TabtuneError) return thrown.code;
  if (thrown instanceof DOMException) return OF_BROWSER[thrown.name] ?? "internal";
  return thrown instanceof TypeError && NO_NETWORK.test(thrown.message) ? "io" : "internal";
}

/** Shows what went wrong, and with it what that means for the work in hand. */
export function showError(thrown: unknown, meaning = ""): void {
  const code = codeOf(thrown);
  const missing = thrown instanceof MissingInput;
  const message = messageOf(thrown);
  write("error-hint", missing ? message : hintOf(code, message, navigator.onLine));
  write("error-meaning", meaning);
  write("error-message", missing ? "" : message);
  write("error-code", code);
  show("error-message", !missing);
  show("error-code", !missing);
  show("error", true);
  reveal("error", "nearest");
}

/** Says of work that was not done why, where it is watched. What is still missing is no failure, and was read aloud as it was shown. */
export function tellUndone(how: Exclude<Outcome, "done">): void {
  if (how === "missing") write("status", element("error-hint").textContent ?? "");
  else say(how === "stopped" ? "Stopped." : "Failed.");
}

export function clearError(): void {
  show("error", false);
}

/** Takes an error away once the person changes something in one of these parts. */
export function clearErrorOnChange(...ids: string[]): void {
  for (const id of ids) for (const kind of ["input", "change"]) element(id).addEventListener(kind, clearError);
}
