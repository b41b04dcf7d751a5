import { cancelled, failure } from "./errors.js";

/** The locks that keep tabs from working on the same thing. Browsers have them on safe pages alone. */
export function locks(): LockManager {
  if (navigator.locks) return navigator.locks;
  const message = "datasets and runs need a secure page: open it over https, or at http://localhost";
  throw failure("bad-state", message);
}

/**
 * Does `work` on the tokens of a dataset when no other tab is at it. What one tab has tokenised the next one finds
 * done.
 */
export async function withTokensOf<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  try {
    return await locks().request(ofTokens(name), { signal }, work);
  } catch (thrown) {
    throw thrown === signal.reason ? cancelled() : thrown;
  }
}

/** Does `work` unless a tab is making tokens of the dataset, which another one would not hear of under another name. */
export function whileNotTokenised<T>(name: string, work: () => Promise<T>): Promise<T> {
  return locks().request(ofTokens(name), { ifAvailable: true }, (lock) => {
    if (!lock) throw failure("bad-state", `dataset "${name}" is being turned into tokens: try again when that is done`);
    return work();
  });
}

function ofTokens(name: string): string {
  return `tabtune-tokens:${name}`;
}
