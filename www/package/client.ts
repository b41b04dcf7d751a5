import { cancelled, failure, TabtuneError, unanswered } from "./errors.js";
import type { CallName, Calls, Reply, Request } from "./protocol.js";

interface Pending {
  resolve(result: unknown): void;
  reject(error: TabtuneError): void;
  report(event: unknown): void;
}

/** Where requests go: a worker, or an engine on this very page. */
interface Connection {
  send(request: Request, transfer: Transferable[]): void;
  end(): void;
}

/** The page's end of an engine: typed calls over messages. */
export class Client {
  readonly #connection: Connection;
  readonly #pending = new Map<number, Pending>();
  #next_id = 1;
  /** Why no further call can be answered, once that is so. */
  #closed: TabtuneError | undefined;

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Connects to the engine that `connect` makes: it is told where replies go, and what ends the connection. */
  private constructor(connect: (receive: (reply: Reply) => void, close: (reason: TabtuneError) => void) => Connection) {
    this.#connection = connect(
      (reply) => this.#receive(reply),
      (reason) => this.#close(reason),
    );
  }

  /** An engine in a worker of its own. */
  static inWorker(): Client {
    return new Client((receive, close) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tabtune" });
      worker.onmessage = ({ data }: MessageEvent<Reply>) => receive(data);
      worker.onerror = ({ message }) => {
        close(message ? failure("internal", message) : failure("io", `the worker's script could not be loaded: ${unanswered()}`));
      };
      worker.onmessageerror = () => close(failure("internal", "a message from the worker was unreadable"));
      return { send: (request, transfer) => worker.postMessage(request, transfer), end: () => worker.terminate() };
    });
  }

  /** An engine on this page, which works on a device of the page's own. */
  static async onDevice(device: object): Promise<Client> {
    const { Engine } = await import("./worker.js");
    return new Client((receive) => {
      const engine = new Engine(receive, device);
      return { send: (request) => engine.receive(request), end: () => engine.close() };
    });
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
    if (options.signal?.aborted) return Promise.reject(cancelled());
    const id = this.#next_id++;
    const cancel = () => this.#connection.send({ cancel: id }, []);
    const answered = new Promise<unknown>((resolve, reject) => {
      const report = (options.report ?? (() => {})) as (event: unknown) => void;
      this.#pending.set(id, { resolve, reject, report });
      this.#connection.send({ id, call, args } as Request, options.transfer ?? []);
      options.signal?.addEventListener("abort", cancel);
    });
    return answered.finally(() => options.signal?.removeEventListener("abort", cancel)) as Promise<Calls[C]["result"]>;
  }

  /** Ends the worker; calls still open are refused as `cancelled`, later ones as `bad-state`. */
  terminate(): void {
    this.#close(failure("cancelled", "the engine was ended"));
    this.#closed = failure("bad-state", "the engine has ended: load the model again");
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
    this.#connection.end();
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }
}
