import { detailsOf, failure } from "./errors.js";
import { openFolder, type FilesReader } from "./files.js";
import { VERSION, type CallName, type Calls, type DatasetSource, type Reply, type Request } from "./protocol.js";
import type { DatasetReport, Plan, ProgressCallback } from "./types.js";
import init, { Session } from "./wasm/tabtune.js";
import { webgpuProblem } from "./webgpu.js";

/** How one call is answered; `report` sends an event to the page. */
type Handler<C extends CallName> = (
  args: Calls[C]["args"],
  report: (event: Calls[C]["event"]) => void,
  id: number,
) => Promise<Calls[C]["result"]>;

let opened: Session | undefined;
const cancelled = new Set<number>();

function session(): Session {
  if (!opened) throw failure("bad-state", "the engine has not been started");
  return opened;
}

/** Writes the rows of one file, tokenised, to the browser's storage. */
function importDataset(source: DatasetSource, train: object | undefined, report: ProgressCallback) {
  const files: FilesReader = openFolder({ kind: "blobs", blobs: { [source.file_name]: source.file } });
  return session().import_dataset(source.name, files, source.file_name, train, report) as Promise<DatasetReport>;
}

const handlers: { [C in CallName]: Handler<C> } = {
  async start({ version }) {
    if (version !== VERSION) {
      throw failure("bad-state", `the page runs tabtune ${version} but its worker ${VERSION}; reload the page`);
    }
    const problem = await webgpuProblem();
    if (problem) throw failure("webgpu-unavailable", problem);
    await init();
    opened = await Session.create();
    return opened.adapter();
  },

  load_model: ({ folder, quantization }, report) => session().load_model(openFolder(folder), quantization, report),

  async prepare({ lora, train, init_adapter, dataset, eval_dataset }, report) {
    const reports: Pick<Plan, "dataset" | "eval_dataset"> = { dataset: await importDataset(dataset, train, report) };
    if (eval_dataset) reports.eval_dataset = await importDataset(eval_dataset, train, report);
    const plan = await session().prepare({
      lora,
      train,
      init_adapter: init_adapter && openFolder(init_adapter),
      dataset: dataset.name,
      eval_dataset: eval_dataset?.name,
    });
    return { ...plan, ...reports };
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
  }
}

// One call at a time: a session is busy until its promise settles.
let last: Promise<void> = Promise.resolve();

self.onmessage = ({ data }: MessageEvent<Request>) => {
  if ("cancel" in data) {
    cancelled.add(data.cancel);
  } else {
    last = last.then(() => answer(data));
  }
};
