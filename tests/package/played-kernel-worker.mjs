// Node's threads as browsers have workers, for the workers of the CPU engine. As the script of such a thread it brings
// the package's own script to life.
import { isMainThread, parentPort, Worker } from "node:worker_threads";

// Node has no locks, and some of its releases no navigator.
globalThis.navigator ??= {};

const SCRIPT = new URL("../../www/package/build/kernel-worker.js", import.meta.url);

/** What Machine.open takes for a Worker. */
export class PlayedKernelWorker {
  onmessage = null;
  onerror = null;
  #thread = new Worker(new URL(import.meta.url));

  /** Resolves when the thread has ended. */
  over = new Promise((resolve) => this.#thread.once("exit", resolve));

  constructor() {
    this.#thread.on("message", (data) => this.onmessage?.({ data }));
    this.#thread.on("error", ({ message }) => this.onerror?.({ message }));
  }

  postMessage(message) {
    this.#thread.postMessage(message);
  }

  terminate() {
    return this.#thread.terminate();
  }
}

if (!isMainThread) {
  globalThis.self = globalThis;
  self.close = () => parentPort.close();
  self.postMessage = (message) => parentPort.postMessage(message);
  await import(SCRIPT);
  parentPort.on("message", (data) => self.onmessage({ data }));
}
