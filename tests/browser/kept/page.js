// Runs in a page before its scripts: the engines of its trainers are those of the shared worker in `engines.js`. Other
// workers are what they always are, as are all that are made while `globalThis.has_own_workers` is set.
{
  const { Worker } = globalThis;

  /** Behaves as a worker of this page's own. */
  class KeptWorker extends EventTarget {
    #given;
    /** The worker, or the port to the engine. */
    #real;
    #onmessage;

    constructor(...given) {
      super();
      this.#given = given;
    }

    get onmessage() {
      return this.#onmessage;
    }

    set onmessage(receive) {
      if (this.#onmessage) this.removeEventListener("message", this.#onmessage);
      this.#onmessage = receive;
      if (receive) this.addEventListener("message", receive);
    }

    /** What a worker is for is known from the first that it is asked. */
    postMessage(message, transfer = []) {
      this.#real ??= message.call === "start" && !globalThis.has_own_workers ? this.#connect() : this.#begin();
      this.#real.postMessage(message, transfer);
    }

    #begin() {
      const worker = new Worker(...this.#given);
      worker.onmessage = ({ data, ports }) => this.dispatchEvent(new MessageEvent("message", { data, ports: [...ports] }));
      worker.onerror = (event) => this.onerror?.(event);
      worker.onmessageerror = (event) => this.onmessageerror?.(event);
      return worker;
    }

    #connect() {
      const port = globalThis.connectEngine?.() ?? new SharedWorker("/kept/engines.js", { type: "module" }).port;
      port.onmessage = ({ data }) => this.dispatchEvent(new MessageEvent("message", { data }));
      const page = `kept-page:${crypto.randomUUID()}`;
      void navigator.locks.request(page, () => {
        port.postMessage({ page });
        return new Promise(() => {});
      });
      return port;
    }

    terminate() {
      if (this.#real instanceof MessagePort) {
        this.#real.onmessage = null;
        this.#real.postMessage({ ends: true });
      } else this.#real?.terminate();
    }
  }

  globalThis.Worker = KeptWorker;
}
