import { cancelled, ended, EngineGone, failure, TabtuneError, unanswered } from "./errors.js";
import { KernelWorkers } from "./kernel-workers.js";
import type { CallName, Calls, KernelsWish, Reply, Request, Sign } from "./protocol.js";
import { PATIENCE, Pulse, type Patience } from "./pulse.js";

interface Pending {
  resolve(result: unknown): void;
  reject(error: TabtuneError): void;
  report(event: unknown): void;
  /** Since when the caller waits for nothing but the end, in milliseconds. */
  hurries_since: number | undefined;
}

/** Where requests go: a worker, or an engine on this very page. */
interface Connection {
  send(request: Request, transfer: Transferable[]): void;
  end(): void;
  /** Whether the engine may hang without the page. */
  is_worker: boolean;
}

/** How often a worker that is to stop is looked at. */
const HURRY_MILLIS = 250;

/** The most between two looks that counts as waiting. Browsers wake a hidden page once a second. */
const AWAKE_MILLIS = 1000;

/** The page's end of an engine: typed calls over messages. */
export class Client {
  readonly #connection: Connection;
  readonly #pending = new Map<number, Pending>();
  readonly #patience: Patience;
  readonly #pulse: Pulse;
  #hurry: ReturnType<typeof setInterval> | undefined;
  /** When {@link #hurry} last looked. */
  #looked_at = 0;
  #next_id = 1;
  /** Why no further call can be answered, once that is so. */
  #closed: TabtuneError | undefined;
  /** Hears, once each time, for how many seconds the worker has not answered. */
  onsilent: ((seconds: number) => void) | undefined;

  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** Connects to the engine that `connect` makes: it is told where replies go, and what ends the connection. */
  private constructor(
    connect: (receive: (reply: Reply) => void, close: (reason: TabtuneError) => void) => Connection,
    patience: Patience = PATIENCE,
  ) {
    this.#patience = patience;
    this.#connection = connect(
      (reply) => this.#receive(reply),
      (reason) => this.#close(reason),
    );
    const ping = () => this.#connection.send({ ping: true }, []);
    this.#pulse = new Pulse(ping, patience, (seconds) => this.onsilent?.(seconds));
  }

  /** An engine in a worker of its own. */
  static inWorker(patience: Patience = PATIENCE): Client {
    return new Client((receive, close) => {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "tabtune" });
      const ended = new AbortController();
      const kernels = new KernelWorkers((answer) => worker.postMessage(answer));
      worker.onmessage = ({ data }: MessageEvent<Reply | Sign | KernelsWish>) => {
        if ("lock" in data) void endOf(data.lock, ended.signal).then(close, () => {});
        else if ("kernels" in data) kernels.do(data);
        else receive(data);
      };
      worker.onerror = ({ message }) => {
        close(message ? failure("internal", message) : failure("io", `the worker's script could not be loaded: ${unanswered()}`));
      };
      // A page that the browser keeps for the way back would keep what its worker holds: locks, and in WebKit the database.
      const leave = ({ persisted }: PageTransitionEvent) => {
        if (persisted) close(new EngineGone("the page was left, and its engine ended: load the model anew"));
      };
      globalThis.addEventListener?.("pagehide", leave);
      worker.onmessageerror = () => close(failure("internal", "a message from the worker was unreadable"));
      return {
        is_worker: true,
        send: (request, transfer) => worker.postMessage(request, transfer),
        end() {
          ended.abort();
          globalThis.removeEventListener?.("pagehide", leave);
          worker.terminate();
          kernels.end();
        },
      };
    }, patience);
  }

  /** An engine on this page, which works on a device of the page's own. */
  static async onDevice(device: object): Promise<Client> {
    const { Engine } = await import("./worker.js");
    return new Client((receive) => {
      const engine = new Engine(receive, { device });
      return { is_worker: false, send: (request) => engine.receive(request), end: () => engine.close() };
    });
  }

  /**
   * Makes a call. Aborting the signal asks the worker to end the call early; it still answers. A worker that
   * does not is ended after some seconds, and the call is `cancelled`. With `hurries` it is so from the start.
   */
  call<C extends CallName>(
    call: C,
    args: Calls[C]["args"],
    options: {
      report?: ((event: Calls[C]["event"]) => void) | undefined;
      signal?: AbortSignal | undefined;
      transfer?: Transferable[];
      hurries?: boolean;
    } = {},
  ): Promise<Calls[C]["result"]> {
    if (this.#closed) return Promise.reject(this.#closed);
    if (options.signal?.aborted) return Promise.reject(cancelled());
    const id = this.#next_id++;
    const cancel = () => {
      this.#connection.send({ cancel: id }, []);
      this.#hurryUp(id);
    };
    const answered = new Promise<unknown>((resolve, reject) => {
      const report = (options.report ?? (() => {})) as (event: unknown) => void;
      this.#pending.set(id, { resolve, reject, report, hurries_since: undefined });
      try {
        this.#connection.send({ id, call, args } as Request, options.transfer ?? []);
      } catch (thrown) {
        this.#pending.delete(id);
        throw failure("bad-option", `${call}: what was given cannot be sent to the worker (${String(thrown)})`);
      }
      options.signal?.addEventListener("abort", cancel);
      if (this.#connection.is_worker) this.#pulse.start();
      if (options.hurries) this.#hurryUp(id);
    });
    return answered.finally(() => {
      options.signal?.removeEventListener("abort", cancel);
      if (this.#pending.size === 0) this.#pulse.stop();
    }) as Promise<Calls[C]["result"]>;
  }

  /** Ends the worker; calls still open are refused as `cancelled`, later ones as `later` says. */
  terminate(later: TabtuneError = ended()): void {
    this.#close(failure("cancelled", "the engine was ended"));
    this.#closed = later;
  }

  /** Ends the worker, unless it answers a call within the patience that there is for it. */
  #hurryUp(id: number): void {
    const pending = this.#pending.get(id);
    if (!pending || !this.#connection.is_worker) return;
    pending.hurries_since ??= performance.now();
    this.#pulse.ask();
    if (this.#hurry !== undefined) return;
    this.#looked_at = performance.now();
    this.#hurry = setInterval(() => this.#lookAtHurry(), HURRY_MILLIS);
  }

  #lookAtHurry(): void {
    const now = performance.now();
    // While the browser had put the page to sleep, and the worker with it, nobody waited.
    const slept = Math.max(0, now - this.#looked_at - AWAKE_MILLIS);
    this.#looked_at = now;
    for (const pending of this.#pending.values()) {
      if (pending.hurries_since !== undefined) pending.hurries_since += slept;
    }
    const hurried = [...this.#pending.values()].flatMap(({ hurries_since }) => hurries_since ?? []);
    if (hurried.length === 0) {
      clearInterval(this.#hurry);
      this.#hurry = undefined;
      return;
    }
    const waited = (now - Math.min(...hurried)) / 1000;
    // An answer may have been owed for long when the caller lost patience.
    const silence = Math.min(this.#pulse.ask(), waited);
    if (silence < this.#patience.grace && waited < this.#patience.limit) return;
    for (const [id, { hurries_since, reject }] of this.#pending) {
      if (hurries_since === undefined) continue;
      this.#pending.delete(id);
      reject(failure("cancelled", "the caller asked to stop, and the engine, which did not answer, was ended"));
    }
    this.#close(new EngineGone("the engine did not answer and was ended"));
  }

  #receive(reply: Reply): void {
    this.#pulse.heard();
    if ("pong" in reply) return;
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
    this.#pulse.stop();
    clearInterval(this.#hurry);
    for (const pending of this.#pending.values()) pending.reject(reason);
    this.#pending.clear();
  }
}

/** Waits until a worker is no more: a lock that it holds for as long as it lives is then free. */
async function endOf(lock: string, signal: AbortSignal): Promise<EngineGone> {
  await navigator.locks.request(lock, { signal }, () => {});
  return new EngineGone("the engine's worker has ended by itself: the browser may have needed its memory");
}
