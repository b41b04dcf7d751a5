/**
 * Does `work` on all items, so many at a time. The first failure is thrown, and aborts the signal that work on the others
 * has.
 */
export async function inParallel<T>(items: readonly T[], most: number, work: (item: T, signal: AbortSignal) => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (stop.signal.aborted) return;
      await work(item, stop.signal);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  } catch (thrown) {
    stop.abort();
    throw thrown;
  }
}
