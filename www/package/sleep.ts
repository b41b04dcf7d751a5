import { throwIfAborted } from "./errors.js";

/** Waits, or throws `cancelled` when the signal is aborted. */
export async function sleep(seconds: number, signal: AbortSignal | undefined): Promise<void> {
  throwIfAborted(signal);
  await new Promise<void>((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const timer = setTimeout(wake, seconds * 1000);
    signal?.addEventListener("abort", wake);
  });
  throwIfAborted(signal);
}
