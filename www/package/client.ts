import { failure, TabtuneError } from "./errors.js";
import type { CallName, Calls, Reply, Request } from "./protocol.js";

interface Pending {
  resolve(result: unknown): void;
  reject(error: TabtuneError): void;
  report(event: unknown): void;
}

/** The page's end of the worker: typed calls over messages. */
export class Client {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #next_id = 1;
  /** Why no further call can be answered, once that is so. */
  #closed: TabtuneError | undefined;

  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tabtune" });
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => this.#receive(data);
    this.#worker.onerror = (event) => {
      this.#close(failure("internal", event.message || "the worker's script could not be loaded"));
    };
    this.#worker.onmessageerror = () => this.#close(failure("internal", "a message from the worker was unreadable"));
  }

  /** Makes a call. Aborting the signal asks the worker to end the call early; it still answers. */
  call<C extends CallName>(
    call: C,
    args: Calls[C]["args"],
    options: {
      report?: ((event: Calls[C]["event"]) => void) | undefined;
      signal?: AbortSignal | undefined;
      transfer?: Transferable[];
    } = {},
  ): Promise<Calls[C]["result"]> {
    if (this.#closed) return Promise.reject(this.#closed);
    const id = this.#next_id++;
    const cancel = () => this.#worker.postMessage({ cancel: id } satisfies Request);
    const answered = new Promise<unknown>((resolve, reject) => {
      const report = (options.report ?? (() => {})) as (event: unknown) => void;
      this.#pending.set(id, { resolve, reject, report });
      this.#worker.postMessage({ id, call, args } as Request, options.transfer ?? []);
      options.signal?.addEventListener("abort", cancel);
    });
    return answered.finally(() => options.signal?.removeEventListener("abort", cancel)) as Promise<Calls[C]["result"]>;
  }

  /** Ends the worker; calls still open are refused as `cancelled`. */
  terminate(): void {
    this.#close(failure("cancelled", "the trainer was disposed"));
  }

  #receive(reply: Reply): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return;
    if ("event" in reply) {
      pending.report(reply.event);
      return;
    }
    this.#pending.delete(reply.id);
    if ("error" in reply) pending.reject(new TabtuneError(reply.error));
    else pending.resolve(reply.result);
  }

  #close(reason: TabtuneError): void {
    this.#closed ??= reason;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }
}
