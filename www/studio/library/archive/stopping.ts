/** Ends work that the person has stopped. */
export function throwIfStopped(signal: AbortSignal): void {
  if (signal.aborted) throw new DOMException("the person has stopped it", "AbortError");
}
