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
    return await locks().request(`tabtune-tokens:${name}`, { signal }, work);
  } catch (thrown) {
    throw thrown === signal.reason ? cancelled() : thrown;
  }
}
