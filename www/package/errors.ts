import { TabtuneError } from "./tabtune-error.js";

export { TabtuneError } from "./tabtune-error.js";

/** What went wrong, from a fixed list. Match on this, never on the text of a message. */
export type ErrorCode =
  | "webgpu-unavailable"
  | "cpu-unavailable"
  | "out-of-memory"
  | "device-lost"
  | "unsupported-model"
  | "bad-model"
  | "bad-data"
  | "bad-adapter"
  | "bad-option"
  | "not-finite"
  | "quota-exceeded"
  | "cancelled"
  | "io"
  | "bad-state"
  | "unsupported"
  | "internal";

/** An error as it crosses from the worker to the page. */
export interface ErrorDetails {
  code: ErrorCode;
  /** The cause alone, naming the file, row, tensor or option. */
  message: string;
  /** What was being done, outermost first. */
  context: string[];
}

/** The worker that an engine was in is gone, and its GPU device with it. */
export class EngineGone extends TabtuneError {
  constructor(message: string) {
    super({ code: "device-lost", message, context: [] });
  }
}

/** A {@link TabtuneError} without context. */
export function failure(code: ErrorCode, message: string): TabtuneError {
  return new TabtuneError({ code, message, context: [] });
}

/** The details of anything thrown; what carries no code of ours is `internal`. */
export function detailsOf(thrown: unknown): ErrorDetails {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") {
    const context = "context" in thrown && Array.isArray(thrown.context) ? thrown.context.map(String) : [];
    // The message of a TabtuneError starts with its context already.
    const told = thrown instanceof TabtuneError;
    return { code: thrown.code as ErrorCode, message: thrown.message, context: told ? [] : context };
  }
  if (thrown instanceof DOMException && thrown.name === "QuotaExceededError") {
    return { code: "quota-exceeded", message: thrown.message, context: [] };
  }
  if (thrown instanceof TypeError && NO_ANSWER.test(thrown.message)) {
    return { code: "io", message: unanswered(thrown), context: [] };
  }
  return { code: "internal", message: String(thrown), context: [] };
}

/** What Chromium, Firefox and Safari say of a request that got no answer. */
const NO_ANSWER = /^(Failed to fetch|NetworkError|Load failed)/;

/** Why a request got no answer, as far as a page can know. */
export function unanswered(thrown?: unknown): string {
  const reason =
    globalThis.navigator?.onLine === false
      ? "you are offline"
      : "no answer came; the network may be down, the address wrong, or the server closed to this page";
  return thrown === undefined ? reason : `${reason} (${String(thrown)})`;
}

/** What is thrown where a signal was aborted. */
export function cancelled(): TabtuneError {
  return failure("cancelled", "the caller asked to stop");
}

/** What is thrown where there is no engine any more, and no other one is started. */
export function ended(): TabtuneError {
  return failure("bad-state", "the engine has ended: load the model again");
}

/** Throws `cancelled` if the signal has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled();
}
