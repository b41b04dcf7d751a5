import { takeIn, takeOut } from "./carrying.js";
import type { WorkerLike } from "./cpu/team.js";
import { importRows, inspect, library } from "./datasets.js";
import { detailsOf, failure, TabtuneError, throwIfAborted } from "./errors.js";
import { exportFolder, FolderSink } from "./export/sink.js";
import type { Participant } from "./federated/participant.js";
import { openFolder, openModel, type Folder } from "./files.js";
import { hint, openMachine, planMachine, type MachineOpener } from "./kernels.js";
import { federated } from "./lazy-worker.js";
import { withTokensOf } from "./locks.js";
import { VERSION, type CallName, type Calls, type FederationCall, type Reply, type Request, type RunParts } from "./protocol.js";
import type { AdapterInfo, DatasetReport, DeviceName, Footprint, Plan, ProgressCallback, TrainConfig } from "./types.js";
import init, { check_options, Session } from "./wasm/tabtune.js";
import { compare } from "./ways.js";
import { problemAfter } from "./webgpu.js";

/** What a running call can do besides answering. */
interface Running {
  /** Sends an event to the page. */
  report(event: unknown): void;
  /** Aborted when the page no longer wants the answer. */
  signal: AbortSignal;
}

type Handler<C extends CallName> = (
  args: Calls[C]["args"],
  running: Running & { report(event: Calls[C]["event"]): void },
) => Promise<Calls[C]["result"]>;

/** Calls that may overlap, because they touch no session. */
const OVERLAPPING: readonly CallName[] = [
  "inspect",
  "import",
  "datasets",
  "dataset_info",
  "dataset_rows",
  "held_out_rows",
  "deduplicate",
  "discard_pending",
  "rename_dataset",
  "delete_dataset",
  "checkpoints",
  "delete_run",
  "export_run",
  "import_run",
  "keep_samples",
  "samples",
  // These wait for a server, and touch no session meanwhile.
  "federation_join",
  "federation_next",
  "federation_told",
  "federation_leave",
];

/** What an engine is given to compute by. */
export interface Means {
  /** A GPU of the page's. */
  device?: object;
  /** Makes the workers that run kernels on the processor; without it the engine's own thread does. */
  worker?: () => WorkerLike;
}

/** The engine behind a {@link Client}: it answers requests through `post`, on a device of its own or by the page's means. */
export class Engine {
  readonly #post: (reply: Reply) => void;
  readonly #means: Means;
  readonly #running = new Map<number, AbortController>();
  /** The session is busy until its promise settles, so its calls come one at a time. */
  #last: Promise<void> = Promise.resolve();
  #opened: Session | undefined;
  /** What that was asked to compute on. */
  #device: DeviceName | undefined;
  /** By their servers' addresses. */
  readonly #participants = new Map<string, Promise<Participant>>();

  constructor(post: (reply: Reply) => void, means: Means = {}) {
    this.#post = post;
    this.#means = means;
  }

  /** Takes a request from the page. */
  receive(request: Request): void {
    if ("ping" in request) {
      this.#post({ pong: true });
      return;
    }
    if ("cancel" in request) {
      this.#running.get(request.cancel)?.abort();
      return;
    }
    // A call that is still waiting for its turn can be cancelled too.
    this.#running.set(request.id, new AbortController());
    if (OVERLAPPING.includes(request.call)) void this.#answer(request);
    else this.#last = this.#last.then(() => this.#answer(request));
  }

  /** Frees everything once the call in hand has ended. */
  close(): void {
    for (const controller of this.#running.values()) controller.abort();
    void this.#last.then(() => this.#free());
  }

  async #answer({ id, call, args }: Extract<Request, { id: number }>): Promise<void> {
    const controller = this.#running.get(id) ?? new AbortController();
    const report = (event: unknown) => this.#post({ id, event });
    try {
      const handler = this.#handlers[call] as Handler<CallName>;
      this.#post({ id, result: await handler(args, { report, signal: controller.signal }) });
    } catch (thrown) {
      this.#post({ id, error: detailsOf(thrown) });
    } finally {
      this.#running.delete(id);
    }
  }

  get #session(): Session {
    if (!this.#opened) throw failure("bad-state", "the engine has not been started");
    return this.#opened;
  }

  #free(): void {
    this.#opened?.free();
    this.#opened = undefined;
    this.#device = undefined;
  }

  /** Opens a session on a device, in place of the one that is there. Tells why it is no GPU, where one was looked for. */
  async #open(device: DeviceName, machine: MachineOpener): Promise<string | undefined> {
    // Where the processor can do it, nobody waits for a GPU that may be back soon.
    const problem = device === "cpu" ? undefined : await problemAfter(device === "auto" ? 1 : 3);
    if (problem && device === "webgpu") throw failure("webgpu-unavailable", problem);
    await init();
    this.#free();
    const wanted = problem ? "cpu" : device;
    const open = (workers?: number) => machine(this.#means.worker, workers);
    this.#opened = await Session.create(wanted, this.#means.device, open).catch((thrown: unknown) => {
      const { code, message, context } = detailsOf(thrown);
      // There was a GPU a moment ago: it crashed in between, and may come back. One that refuses a device stays so.
      const is_gone = code === "webgpu-unavailable" && message.includes("no GPU adapter");
      const told = problem ? `${problem} And ${message}` : message;
      throw new TabtuneError({ code: is_gone ? "device-lost" : code, message: told, context });
    });
    this.#device = device;
    return problem;
  }

  /** Asks what runs of a model take on a device. Nothing is computed for it, and its session is there for whoever asks next. */
  async #estimator(device: DeviceName, folder: Folder, { report, signal }: Running): Promise<(options: RunParts) => Promise<Footprint>> {
    if (this.#device !== device) await this.#open(device, planMachine);
    const files = await openModel(folder, { report, signal, peek: true });
    return async (options) => {
      throwIfAborted(signal);
      return this.#session.estimate(files, options);
    };
  }

  /** This engine's part in a federation. What that needs is loaded where it is asked for. */
  async #participant(of: FederationCall): Promise<Participant> {
    const kept = this.#participants.get(of.address);
    if (kept) return kept;
    const opened = federated().then(({ Participant }) => Participant.open(of, () => this.#session));
    this.#participants.set(of.address, opened);
    // Whatever was in the way may be gone at the next call.
    opened.catch(() => this.#participants.delete(of.address));
    return opened;
  }

  /** Tokenises a dataset, as far as that is not done yet. */
  async #tokenize(name: string, train: TrainConfig | undefined, report: ProgressCallback, signal: AbortSignal) {
    const on_progress = rowsDone("tokenize", name, report, signal);
    const tokenize = () => this.#session.tokenize(name, train, on_progress) as Promise<DatasetReport>;
    return withTokensOf(name, signal, tokenize);
  }

  readonly #handlers: { [C in CallName]: Handler<C> } = {
    start: async ({ version, device }) => {
      checkVersion(version);
      const problem = await this.#open(device, openMachine);
      const info = this.#session.adapter() as AdapterInfo;
      if (info.backend !== "cpu") return info;
      const told = await hint(device === "cpu" ? null : problem);
      return { ...info, ...(told !== undefined && { hint: told }) };
    },

    load_model: async ({ folder, quantization, lora, train, base }, { report, signal }) => {
      check_options({ quantization, lora, train });
      const files = await openModel(folder, { report, signal });
      const info = await this.#session.load_model(files, quantization, report);
      if (base !== undefined) await this.#session.set_base_name(base);
      return info;
    },

    estimate: async ({ device, folder, ...options }, running) => (await this.#estimator(device, folder, running))(options),

    compare: async ({ device, folder, lora, train }, running) => compare(await this.#estimator(device, folder, running), lora, train),

    prepare: async (args, { report, signal }) => {
      const { lora, train, dataset, eval_dataset } = args;
      await this.#session.check_run(lora, train);
      const reports: Pick<Plan, "dataset" | "eval_dataset"> = {
        dataset: await this.#tokenize(dataset, train, report, signal),
      };
      if (eval_dataset !== undefined) {
        reports.eval_dataset = await this.#tokenize(eval_dataset, train, report, signal);
      }
      report({ status: "compile", name: dataset, file: "" });
      const plan = await this.#session.prepare(args, rowsDone("reference", dataset, report, signal));
      return { ...plan, ...reports };
    },

    preview: ({ name, train, first, count }) => this.#session.preview(name, train, first, count),

    lengths: async ({ name, train, bins }, { report, signal }) => {
      await this.#tokenize(name, train, report, signal);
      return this.#session.lengths(name, train, bins);
    },

    train_step: ({ pipelined, end }) => this.#session.train_step(pipelined, end),

    save_checkpoint: () => this.#session.save_checkpoint(),

    evaluate: (_args, { signal }) => this.#session.evaluate(() => !signal.aborted),

    score: async ({ texts, adapter, train }, { report, signal }) => {
      if ("dataset" in texts) await this.#tokenize(texts.dataset, train, report, signal);
      const name = "dataset" in texts ? texts.dataset : "";
      return this.#session.score(texts, adapter, train, rowsDone("score", name, report, signal));
    },

    load_best: () => this.#session.load_best(),

    generate: ({ prompt, options }, { report, signal }) =>
      this.#session.generate(prompt, options, (piece: string) => {
        if (signal.aborted) return false;
        report(piece);
        return true;
      }),

    save: ({ name }) => this.#session.save(name),

    export: async ({ folder, to, options }, { report, signal }) => {
      const target = await exportFolder(folder, to);
      const sink = new FolderSink(target);
      const on_progress = (loaded: number, total: number) => {
        report({ status: "save", name: options.format, file: "", loaded, total, progress: (100 * loaded) / total });
        return !signal.aborted;
      };
      try {
        const files = await openModel(folder, { report, signal });
        const notices = await this.#session.export(files, options, sink, on_progress);
        return { files: sink.files, folder: target, notices };
      } catch (thrown) {
        await sink.abort();
        throw thrown;
      }
    },

    load_adapter: ({ name, folder }, { report, signal }) =>
      this.#session.load_adapter(name, openFolder(folder, { report, signal })),
    blend_adapters: ({ name, parts }) => this.#session.blend_adapters(name, parts),
    use_adapter: ({ name }) => this.#session.use_adapter(name),
    delete_adapter: ({ name }) => this.#session.delete_adapter(name),
    adapters: () => this.#session.adapters(),

    counters: async () => this.#session.counters(),

    federation_open: async (of) => {
      // The run may be another one than when this server was joined before.
      const before = this.#participants.get(of.address);
      this.#participants.delete(of.address);
      await (await before)?.leave();
      const { layout, public_key, fingerprint } = await this.#participant(of);
      return { layout, public_key, fingerprint };
    },
    federation_join: async (of, { signal }) => (await this.#participant(of)).join(signal),
    federation_next: async (of, running) => (await this.#participant(of)).next(running),
    federation_begin: async ({ first, ...of }) => (await this.#participant(of)).begin(first),
    federation_send: async ({ train_loss, made, ...of }, running) =>
      (await this.#participant(of)).send({ train_loss, steps: made }, running),
    federation_take: async (of) => (await this.#participant(of)).take(),
    federation_told: async ({ held_out: rows, eval_loss, ...of }, running) => (await this.#participant(of)).told({ rows, eval_loss }, running),
    federation_leave: async (of) => (await this.#participant(of)).leave(),

    close: async () => {
      await this.#session.unload();
      const counters = this.#session.counters();
      this.#free();
      return counters;
    },

    start_library: async ({ version }) => {
      checkVersion(version);
      await init();
      await library();
    },
    inspect: (args) => inspect(args),
    import: (args, { report, signal }) => importRows(args, report, signal),
    datasets: async () => (await library()).list(),
    dataset_info: async ({ name }) => (await library()).info(name),
    dataset_rows: async ({ name, first, count }) => (await library()).rows(name, first, count),
    held_out_rows: async ({ name, test_size }) => (await library()).held_out(name, test_size),
    deduplicate: async ({ name }) => (await library()).deduplicate(name),
    discard_pending: async ({ name }) => (await library()).discard_pending(name),
    rename_dataset: async ({ name, to }) => (await library()).rename(name, to),
    checkpoints: async ({ run_name }) => (await library()).checkpoints(run_name),
    delete_run: async ({ run_name }) => (await library()).delete_run(run_name),
    export_run: (args, { report, signal }) => takeOut(args, report, signal),
    import_run: (args, { report, signal }) => takeIn(args, report, signal),
    keep_samples: async ({ run_name, samples }) => (await library()).keep_samples(run_name, JSON.stringify(samples)),
    samples: async ({ run_name }) => JSON.parse((await (await library()).samples(run_name)) ?? "[]"),
    delete_dataset: async ({ name }) => (await library()).delete(name),
  };
}

/** Tells of rows as they are done, with the time that the others will take; returns false where the rest is not wanted. */
function rowsDone(status: string, name: string, report: ProgressCallback, signal: AbortSignal) {
  const began = performance.now();
  let first: number | undefined;
  return (done: number, rows: number) => {
    first ??= done;
    const per_row = done > first ? (performance.now() - began) / (done - first) / 1000 : 0;
    report({
      status,
      name,
      file: "",
      loaded: done,
      total: rows,
      progress: rows === 0 ? 100 : (100 * done) / rows,
      rows: done,
      remaining_seconds: per_row * (rows - done),
    });
    return !signal.aborted;
  };
}

/** A half that the browser kept of another build might misunderstand the other. */
function checkVersion(version: string): void {
  if (version !== VERSION) {
    throw failure("bad-state", `the page runs tabtune ${version} but its worker ${VERSION}; reload the page`);
  }
}
