import { importRows, inspect, library } from "./datasets.js";
import { detailsOf, failure } from "./errors.js";
import { openFolder } from "./files.js";
import { VERSION, type CallName, type Calls, type Reply, type Request } from "./protocol.js";
import type { DatasetReport, Plan, ProgressCallback, TrainConfig } from "./types.js";
import init, { Session } from "./wasm/tabtune.js";
import { webgpuProblem } from "./webgpu.js";

/** How one call is answered; `report` sends an event to the page. */
type Handler<C extends CallName> = (
  args: Calls[C]["args"],
  report: (event: Calls[C]["event"]) => void,
  id: number,
) => Promise<Calls[C]["result"]>;

let opened: Session | undefined;
/** Calls that should end early. */
const cancelled = new Set<number>();
/** Those among the running ones that can be told by a signal. */
const signals = new Map<number, AbortController>();

function signalOf(id: number): AbortSignal {
  const controller = new AbortController();
  if (cancelled.has(id)) controller.abort();
  signals.set(id, controller);
  return controller.signal;
}

function session(): Session {
  if (!opened) throw failure("bad-state", "the engine has not been started");
  return opened;
}

/** A half that the browser kept of another build might misunderstand the other. */
function checkVersion(version: string): void {
  if (version !== VERSION) {
    throw failure("bad-state", `the page runs tabtune ${version} but its worker ${VERSION}; reload the page`);
  }
}

/** Tokenises a dataset, as far as that is not done yet. */
async function tokenize(name: string, train: TrainConfig | undefined, report: ProgressCallback, id: number) {
  const began = performance.now();
  let first: number | undefined;
  const on_progress = (done: number, rows: number) => {
    first ??= done;
    const per_row = done > first ? (performance.now() - began) / (done - first) / 1000 : 0;
    const progress = rows === 0 ? 100 : (100 * done) / rows;
    const remaining_seconds = per_row * (rows - done);
    report({ status: "tokenize", name, file: "", loaded: done, total: rows, progress, rows: done, remaining_seconds });
    return !cancelled.has(id);
  };
  return (await session().tokenize(name, train, on_progress)) as DatasetReport;
}

const handlers: { [C in CallName]: Handler<C> } = {
  async start({ version }) {
    checkVersion(version);
    const problem = await webgpuProblem();
    if (problem) throw failure("webgpu-unavailable", problem);
    await init();
    opened = await Session.create();
    return opened.adapter();
  },

  load_model: ({ folder, quantization }, report, id) =>
    session().load_model(openFolder(folder, { report, signal: signalOf(id) }), quantization, report),

  estimate: ({ folder, ...options }, report, id) =>
    session().estimate(openFolder(folder, { report, signal: signalOf(id) }), options),

  async prepare({ lora, train, init_adapter, dataset, eval_dataset }, report, id) {
    const reports: Pick<Plan, "dataset" | "eval_dataset"> = { dataset: await tokenize(dataset, train, report, id) };
    if (eval_dataset !== undefined) reports.eval_dataset = await tokenize(eval_dataset, train, report, id);
    const plan = await session().prepare({
      lora,
      train,
      init_adapter: init_adapter && openFolder(init_adapter, { report, signal: signalOf(id) }),
      dataset,
      eval_dataset,
    });
    return { ...plan, ...reports };
  },

  preview: ({ name, train, first, count }) => session().preview(name, train, first, count),

  async lengths({ name, train, bins }, report, id) {
    await tokenize(name, train, report, id);
    return session().lengths(name, train, bins);
  },

  train_step: () => session().train_step(),

  evaluate: () => session().evaluate(),

  generate: ({ messages, options }, report, id) =>
    session().generate(messages, options, (piece: string) => {
      if (cancelled.has(id)) return false;
      report(piece);
      return true;
    }),

  save: () => session().save(),

  counters: async () => session().counters(),

  async close() {
    opened?.free();
    opened = undefined;
  },

  async start_library({ version }) {
    checkVersion(version);
    await init();
    await library();
  },
  inspect,
  import: (args, report, id) => importRows(args, report, () => cancelled.has(id)),
  datasets: async () => (await library()).list(),
  dataset_info: async ({ name }) => (await library()).info(name),
  dataset_rows: async ({ name, first, count }) => (await library()).rows(name, first, count),
  deduplicate: async ({ name }) => (await library()).deduplicate(name),
  async discard_pending({ name }) {
    await (await library()).discard_pending(name);
  },
  async delete_dataset({ name }) {
    await (await library()).delete(name);
  },
};

async function answer(request: Extract<Request, { id: number }>): Promise<void> {
  const { id, call, args } = request;
  const post = (reply: Reply) => self.postMessage(reply);
  try {
    const handler = handlers[call] as Handler<CallName>;
    post({ id, result: await handler(args, (event) => post({ id, event }), id) });
  } catch (thrown) {
    post({ id, error: detailsOf(thrown) });
  } finally {
    cancelled.delete(id);
    signals.delete(id);
  }
}

/** Calls that may overlap: none of them touches the session. */
const OVERLAPPING: readonly CallName[] = [
  "inspect",
  "import",
  "datasets",
  "dataset_info",
  "dataset_rows",
  "deduplicate",
  "discard_pending",
  "delete_dataset",
];

// The session is busy until its promise settles, so its calls come one at a time.
let last: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<Request>) => {
  if ("cancel" in data) {
    cancelled.add(data.cancel);
    signals.get(data.cancel)?.abort();
  } else if (OVERLAPPING.includes(data.call)) {
    void answer(data);
  } else {
    last = last.then(() => answer(data));
  }
};
