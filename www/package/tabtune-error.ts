import type { ErrorCode, ErrorDetails } from "./errors.js";

/** Every error that this package throws. Its message reads "what was being done: the cause". */
export class TabtuneError extends Error {
  override readonly name = "TabtuneError";
  readonly code: ErrorCode;
  readonly context: readonly string[];

  constructor(details: ErrorDetails) {
    super([...details.context, details.message].join(": "));
    this.code = details.code;
    this.context = details.context;
  }
}
