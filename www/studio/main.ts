import { webgpuProblem } from "tabtune";
import { Busy } from "./busy.js";
import { CachedModels } from "./cached.js";
import { Chart } from "./chart.js";
import { DataForm } from "./data.js";
import { element, say, show, write } from "./dom.js";
import { downloadAdapter } from "./download.js";
import { showError } from "./errors.js";
import { Estimate } from "./estimate.js";
import { Job, type Order } from "./job.js";
import { Look } from "./look.js";
import { ModelForm } from "./model.js";
import { Progress } from "./progress.js";
import { RestForm } from "./rest.js";
import { SettingsForm } from "./settings.js";
import { Timeline } from "./timeline.js";
import { forgetRun, Unfinished } from "./unfinished.js";

const settings = new SettingsForm(() => tellMemory());
const estimate = new Estimate();
const model = new ModelForm(
  () => void settings.fill(model.bundled).then(tellMemory, showError),
  () => tellMemory(),
);
const data = new DataForm({ running: () => busy.running, forget });
const cached = new CachedModels((work) => void busy.run(work));
const look = new Look();
const rest = new RestForm();
const unfinished = new Unfinished(
  model,
  (resumes) => void train(async () => ({ ...(await unfinished.read()), policy: rest.read() }), resumes),
  (dataset) => forget(dataset, async () => {}),
);
const job = new Job(new Progress(new Chart(), new Timeline()), look, {
  begun: (order) => unfinished.keep(order),
  event: (event) => event.type === "policy" && event.detail && rest.tell(event.detail),
  finished: (order) => unfinished.ended(order),
});
const question = element<HTMLInputElement>("question");
const busy = new Busy(() => {
  if (busy.running) {
    estimate.stop();
    unfinished.hide();
  } else {
    tellMemory();
    void offerWhatIsKept();
  }
  if (!job.trained) element<HTMLButtonElement>("download").disabled = true;
});

let has_gpu = true;

/** What a run with the settings as they stand would take. While one is on its way the GPU is not asked. */
function tellMemory(): void {
  if (!busy.running) estimate.later(has_gpu ? model.chosen : undefined, settings.peek());
}

async function offerWhatIsKept(): Promise<void> {
  await Promise.all([unfinished.refresh(job.trained), cached.refresh()]).catch(showError);
}

/** Forgets the run of a dataset, wherever it is, and does the rest after that. */
function forget(dataset: string, rest: () => Promise<void>): void {
  void busy.run(async () => {
    await job.letGo(dataset);
    await forgetRun(dataset);
    await rest();
  });
}

/** The work whose progress the training card shows. */
const training = {
  begin: "begin",
  stop: "stop",
  stopping: () => say("Stopping…"),
  ended: (how: "done" | "stopped" | "failed") => {
    if (how !== "done") say(how === "stopped" ? "Stopped." : "Failed.");
    document.title = "tabtune";
  },
};

/** Asking, which loads a model where none is there. What a run came to stays written. */
const asking = {
  begin: "ask-begin",
  stop: "ask-stop",
  ended: (how: "done" | "stopped" | "failed") => {
    if (how !== "done" && !job.trained) say(how === "stopped" ? "Stopped." : "Failed.");
  },
};

/** What the form says, but for the settings, which were read already. */
async function ordered(config: Order["config"], signal: AbortSignal): Promise<Order> {
  const chosen = model.read();
  return { model: chosen, rows: await data.read(signal), config, policy: rest.read() };
}

async function train(order: (signal: AbortSignal) => Promise<Order>, resumes: boolean): Promise<void> {
  const done = await busy.run(async (signal) => job.train(await order(signal), resumes, signal), training);
  // The difference is what people came for, so it is shown unasked.
  if (done && job.trained) await busy.run((signal) => job.ask(question.value, signal), asking);
}

element("setup").addEventListener("submit", (event) => {
  event.preventDefault();
  const config = settings.read();
  if (config) void train((signal) => ordered(config, signal), false);
});

element("look").addEventListener("click", () => {
  const config = settings.read();
  if (!config) return;
  void busy.run(async (signal) => {
    await job.look(await ordered(config, signal), signal);
    say("Ready.");
    element("look-card").scrollIntoView({ block: "start", behavior: "smooth" });
  }, training);
});

element("look-more").addEventListener("click", () => void busy.run(() => look.more()));

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const config = job.trained ? undefined : settings.read();
  if (!config && !job.trained) return;
  void busy.run(async (signal) => {
    if (config) await job.load({ model: model.read(), config, policy: rest.read() }, signal);
    await job.ask(question.value, signal);
  }, asking);
});

element("download").addEventListener("click", () => {
  void busy.run(async () => downloadAdapter(await job.save()));
});

for (const [id, resume] of [["import", false], ["resume", true]] as const) {
  element(id).addEventListener("click", () => {
    const task = { begin: "import-begin", stop: "import-cancel", ended: () => void data.refresh() };
    void busy.run(async (signal) => void (await data.own.import(resume, signal)), task);
  });
}

// A file that misses its zone must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

const problem = await webgpuProblem();
if (problem) {
  has_gpu = false;
  busy.withoutGpu();
  write("no-webgpu-reason", problem);
  say("Not possible in this browser.");
  show("no-webgpu", true);
}
await settings.fill(model.bundled).then(tellMemory, showError);
await offerWhatIsKept();
