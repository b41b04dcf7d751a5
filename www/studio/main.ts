import "./shell/language.js";
import { Adapters } from "./library/adapters.js";
import { begunOf, begunRuns } from "./library/begun.js";
import { BegunCard } from "./library/begun-card.js";
import { Asking } from "./chat/asking.js";
import { BlindTest } from "./chat/blind.js";
import { block, Busy, type Task } from "./shell/busy.js";
import { Chat } from "./chat/chat.js";
import { BUNDLED, DataForm } from "./data/data.js";
import { DeviceForm } from "./train/device.js";
import { element, say, show, write } from "./ui/dom.js";
import { clearErrorOnChange, showError, tellUndone } from "./shell/errors.js";
import { NowBar } from "./shell/now.js";
import { beginPlaces, goTo, onPlace, placeNow, reveal, staying } from "./shell/places.js";
import { Again } from "./home/again.js";
import { Trying } from "./home/try.js";
import { Curves } from "./watch/curves.js";
import { showLive } from "./watch/live.js";
import { RunLogs } from "./watch/logs.js";
import { Machine } from "./watch/machine.js";
import { METRICS, RunLog } from "./watch/run-log.js";
import { Telling } from "./watch/telling.js";
import { Estimate } from "./train/estimate.js";
import { Job, type Loading, type Order } from "./work/job.js";
import { Look } from "./data/look.js";
import { beginOffline, tellWork } from "./offline/offline.js";
import { Measuring } from "./chat/measuring.js";
import { ModelForm } from "./train/model.js";
import type { ModelName } from "./train/model-name.js";
import { LearntVoices } from "./chat/learnt-voices.js";
import { Picked } from "./chat/picked.js";
import { Progress } from "./watch/progress.js";
import { RestForm } from "./train/rest.js";
import { RewardChart } from "./watch/reward-chart.js";
import { SettingsForm, type Config } from "./train/settings.js";
import { Library } from "./library/library.js";
import { logsOf } from "./library/run-logs.js";
import { SummaryLine } from "./train/summary.js";
import { Timing } from "./train/timing.js";
import { ShelfCard } from "./library/shelf.js";
import { Timeline } from "./watch/timeline.js";
import { isFederation } from "./together/offered.js";
import type { Together, TogetherPage } from "./together/together.js";
import { savedWords } from "./shell/words.js";

const settings = new SettingsForm(() => tellChoice());
const device = new DeviceForm(() => tellMemory());
const timing = new Timing(() => {
  const adapter = device.computes;
  return adapter && job.base && { adapter, parameters: job.base.parameters };
});
const summary = new SummaryLine(timing, (fields) => settings.change(fields));
const estimate = new Estimate(device, { told: (told) => summary.tell(told), refused: (refused) => settings.refuse(refused) });
const model = new ModelForm(
  () => void settings.fill(model.bundled).then(tellChoice, showError),
  () => tellChoice(),
);
const look = new Look();
const rest = new RestForm();
const asking = new Asking();
const busy = new Busy(() => {
  now.refresh();
  chat.busy = busy.running;
  tellWork(busy.running);
  if (busy.running) return estimate.stop();
  tellMemory();
  void offerWhatIsKept();
});
const data = new DataForm(
  { needing: (dataset) => adapters.needing(dataset), deleting: deleteRows, doing: (work) => void busy.run(work) },
  () => {
    settings.ownRows(!data.bundled);
    settings.follow(data.kind);
    // How long the rows are, and how the model sees them, was told of others.
    longest = undefined;
    look.keepOnly(rowsNow().dataset);
    tellChoice();
  },
);

const curves = new Curves();
const progress = new Progress({ curves, rewards: new RewardChart(), timeline: new Timeline(), machine: new Machine(), telling: new Telling() });

/** The work whose progress the training card shows. */
const training: Task = {
  begin: "begin",
  stop: "stop",
  stopping: () => job.stopping(),
  ended: (how) => progress.ended(how),
};

const adapters = new Adapters({
  busy,
  asking,
  task: training,
  job: () => job,
  loading,
  goOn: (order) => void trainAndAsk(order, true),
  ask,
  begun: (plan, config) => void estimate.show(plan, config),
  event: (event) => event.type === "policy" && event.detail && rest.tell(event.detail),
});
const follower = timing.beside(adapters);
const job = new Job(progress, { device, look, asking, follower });
const working = (work: () => Promise<void>) => busy.run(work);
const picked = new Picked({ working, learnFrom, changed: () => data.refresh() });
const blind = new BlindTest({
  answering: (work) => busy.run(work, comparing),
  answer: (turns, adapter, signal) => job.answer(turns, { adapter }, signal),
  system: () => asking.system,
  picked: () => picked.pairs.open(),
  learntRows: () => adapters.openRows(),
});
const measuring = new Measuring({
  measuring: async (work, report) => {
    await busy.run((signal) => job.measure((trainer) => work(trainer, signal), report), { begin: "measure-begin", stop: "measure-stop" });
  },
  open: () => adapters.open(),
  keep: (id, measured) => adapters.measured(id, measured),
});
const shelf = new ShelfCard({
  busy,
  task: training,
  job: () => job,
  loading,
  mayGo: () => adapters.mayGo(),
  open: () => adapters.open(),
  learnt: adapters.store,
  ask,
});
const learntBefore = new LearntVoices({ job: () => job, loading, follow: (question) => asking.follow(question) });
const chat = new Chat(
  {
    job: () => job,
    voices: shelf.voices,
    voiceOf: (choice) => shelf.voiceOf(choice),
    learnt: learntBefore,
    openLearnt: (choice) => void openLearnt(choice),
    system: () => asking.system,
    answering: (begun, work) => answer(work, chatting, begun),
    working,
    model: () => (job.is_held ? job.base?.name : model.chosen?.name),
    learntRows: () => adapters.openRows(),
    stop: () => busy.stop(),
  },
  picked,
);
const library = new Library({
  busy,
  adapters,
  shelf,
  chats: chat.kept,
  logs: logsOf(RunLogs, (total) => new RunLog(total), METRICS),
  bundled: Object.values(BUNDLED),
  trainOn: async (name) => {
    await data.choose(name);
    goTo("train");
  },
  lookAt: async (name) => {
    await data.choose(name);
    reveal("kept", "center");
  },
  useModel: (name) => {
    model.readAgain({ kind: "hub", name });
    tellChoice();
    goTo("train");
  },
  useSettings: async ({ config }) => {
    await settings.take(config);
    // What is unlike the preset is told there.
    reveal("changed", "center");
  },
  rowsChanged: () => data.refresh(),
  rowsRenamed: async ({ from, to }) => {
    look.clear(from);
    await data.renamed(from, to);
  },
});
const togetherPage: TogetherPage = {
  busy,
  job: () => job,
  follower: adapters,
  mayGo: () => adapters.mayGo(),
  chosen: () => model.chosen?.name,
  choose: (name) => {
    model.readAgain(name);
    tellChoice();
  },
  missing: () => data.missing,
  settings: settingsNow,
  ordered,
  newName: (name) => adapters.newName(name),
  ask,
};
/** Learning together, where the server of this page is a federation. */
let together: Together | undefined;
const now = new NowBar(busy);
const trying = new Trying();
const again = new Again({
  open: (learnt) => {
    goTo("chat");
    adapters.openKept(learnt);
  },
  goOn: (learnt) => {
    goTo("train");
    adapters.goOn(learnt);
  },
  is_still: () => trying.has_begun,
});

const begunCard = new BegunCard({
  anew: (run) => {
    // On a phone what is watched lies below what was set.
    reveal("training-title", "start");
    void trainAndAsk(() => adapters.anew(run), false);
  },
  drawn: () => busy.update(),
});

/** Asking, which loads a model where none is there. What a run came to stays written. */
const asked = (begin: string, stop: string): Task => ({
  begin,
  stop,
  ended: (how) => {
    if (how !== "done" && !job.adapter) tellUndone(how);
  },
});
const answering = asked("ask-begin", "ask-stop");
const chatting = asked("send", "send-stop");
const comparing: Task = { begin: "blind-begin", stop: "blind-stop" };

/** The tokens of the longest row, once that is known. */
let longest: number | undefined;

/**
 * What a run with the settings as they stand would take, where that is read: an engine is started for it. While a run is on its way
 * the device is left to it.
 */
function tellMemory(): void {
  if (!busy.running && placeNow() === "train") estimate.later({ model: model.chosen, config: settings.peek(), lora: settings.lora, longest });
}

/** How the model of that name is loaded, or the one that is chosen now. */
async function loading(name: ModelName | undefined): Promise<Loading> {
  const chosen = name ? model.readAgain(name) : model.read();
  // Another kind of model has other settings, which may still be on their way.
  await settings.filled;
  return { model: chosen, config: settings.peek() ?? settings.standard, policy: rest.read() };
}

/** What the person still has to say, and what the chosen model is worth for their rows. */
function tellChoice(): void {
  const missing = data.missing ?? (data.kind && settings.missing(data.kind));
  write("start-note", missing ?? "");
  write("look-note", data.missing ?? "");
  write("chosen-rows", data.words);
  summary.choose({ model: model.chosen?.name, ...rowsNow() });
  for (const id of ["start", "look"]) block(id, missing !== undefined);
  for (const id of ["import", "resume"]) block(id, data.missing !== undefined);
  // A taste is not knowledge: that much the toy learns, of its own answers.
  show("toy-note", model.bundled && !data.bundled && (data.kind ?? "examples") === "examples");
  together?.refresh();
  busy.update();
  tellMemory();
}

/** Only where there is a federation its code is loaded. */
async function beginTogether(): Promise<void> {
  if (!(await isFederation())) return;
  const { Together } = await import("./together/together.js");
  together = new Together(togetherPage);
  await together.begin();
}

/** What the chosen rows are called in a sentence, and as a dataset. */
function rowsNow(): { rows: string | undefined; dataset: string | undefined } {
  const { name: dataset, words } = data;
  return { rows: data.bundled ? "the example rows" : dataset && words, dataset };
}

async function offerWhatIsKept(): Promise<void> {
  blind.offer(job.adapter?.id);
  await Promise.all([adapters.refresh(), shelf.refresh(), model.refresh(), measuring.offer(job.adapter?.id), chat.offer()]).catch(showError);
  again.show(adapters.entries);
  const kept = new Set(adapters.entries.map(({ learnt }) => learnt.id));
  await Promise.all([begunCard.refresh(kept), library.refresh(), curves.refresh(adapters.entries.map(({ learnt }) => learnt))]).catch(showError);
}

/** The settings as they stand; undefined where a field is wrong or they could not be fetched, which the person is told. */
async function settingsNow(): Promise<Config | undefined> {
  try {
    return await settings.read();
  } catch (thrown) {
    showError(thrown);
    return undefined;
  }
}

function deleteRows(dataset: string, work: () => Promise<void>): Promise<unknown> {
  return busy.run(async () => {
    look.clear(dataset);
    await work();
  });
}

/** What the form says, but for the settings, which were read already. */
async function ordered(config: Config, signal: AbortSignal): Promise<Order> {
  const chosen = model.read();
  const policy = rest.read();
  const rows = await data.read(signal);
  const { name } = rows.dataset;
  return {
    id: `${name} ${new Date().toISOString()}`,
    name: await adapters.newName(name),
    model: chosen,
    rows,
    config: settings.forRows(config, rows),
    policy,
  };
}

/** Whether it was done. */
async function train(order: (signal: AbortSignal) => Promise<Order>, resumes: boolean, task = training): Promise<boolean> {
  if (!adapters.mayGo()) return false;
  const meaning = () => (job.saved_step === undefined ? "" : savedWords(job.saved_step));
  return busy.run(
    async (signal) => {
      const wanted = await order(signal);
      asking.follow(wanted.rows.question);
      const work = () => job.train(wanted, resumes, signal);
      // What goes on has been saved before.
      await (resumes ? work() : begunRuns.during(begunOf(wanted), work));
      longest = look.longest;
    },
    { ...task, meaning },
  );
}

/** Trains as the place Train has it. The difference is what people came for, so it is shown unasked. */
async function trainAndAsk(order: (signal: AbortSignal) => Promise<Order>, resumes: boolean): Promise<void> {
  if ((await train(order, resumes)) && job.adapter) await ask();
}

async function ask(): Promise<void> {
  await answer((signal) => job.ask(signal), answering);
}

/** Has a model do something, which is loaded where none is there. `begun` is told before. Resolves to whether it was done. */
async function answer(work: (signal: AbortSignal) => Promise<void>, task: Task, begun = () => {}): Promise<boolean> {
  const config = job.is_held ? undefined : await settingsNow();
  if (!config && !job.is_held) return false;
  return busy.run(async (signal) => {
    begun();
    if (config) {
      await job.load({ model: model.read(), config, policy: rest.read() }, signal);
      say("Ready.");
    }
    await work(signal);
  }, task);
}

/** Chooses rows that were picked, and shows that they are what is trained on from now on. */
async function learnFrom(dataset: string): Promise<void> {
  await data.choose(dataset);
  reveal("chosen-rows", "center");
}

/** Lets answer what was learnt before, with the model that it was made for. */
async function openLearnt(choice: string): Promise<void> {
  if (!adapters.mayGo()) return;
  await busy.run(async (signal) => say(`“${(await learntBefore.open(choice, signal)).name}” answers now.`), training);
}

element("setup").addEventListener("submit", async (event) => {
  event.preventDefault();
  const config = await settingsNow();
  if (!config) return;
  // What is to be watched now begins beside, or on a phone below, what was set.
  reveal("training-title", "start");
  element("setup").classList.add("has-begun");
  await trainAndAsk((signal) => ordered(config, signal), false);
});

element("look").addEventListener("click", async () => {
  const has_stayed = staying();
  const config = await settingsNow();
  if (!config) return;
  await busy.run(async (signal) => {
    await job.look(await ordered(config, signal), signal);
    longest = look.longest;
    say("Ready.");
    if (has_stayed()) reveal("look-card", "start");
  }, training);
});

element("try").addEventListener("click", async () => {
  model.readAgain({ kind: "bundled", name: "" });
  data.chooseBundled();
  await settings.filled;
  const order = async (signal: AbortSignal) => {
    trying.begin();
    return { ...(await ordered(settings.standard, signal)), asks: trying.asks };
  };
  const ended: Task["ended"] = (how) => {
    progress.ended(how);
    trying.ended(how === "done" && !job.adapter ? "stopped" : how);
  };
  await train(order, false, { ...training, begin: "try", stop: "try-stop", ended });
});

element("look-more").addEventListener("click", () => void busy.run(() => look.more()));

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  void ask();
});

for (const [id, resume] of [["import", false], ["resume", true]] as const) {
  element(id).addEventListener("click", () => {
    const task = { begin: "import-begin", stop: "import-cancel", ended: () => void data.refresh() };
    void busy.run(async (signal) => void (await data.own.import(resume, signal)), task);
  });
}

// A file that misses its zone must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
clearErrorOnChange("setup", "rows-part", "own");

beginPlaces();
void chat.begin().catch(showError);
beginOffline(() => estimate.stop());
settings.ownRows(!data.bundled);
await settings.fill(model.bundled).catch(showError);
// With the rows of the visit before come the settings of then; other rows that are chosen bring their own.
void data.begun.then(() => settings.follow(data.kind));
onPlace(tellMemory);
tellChoice();
showLive(element("live-watch"));
await Promise.all([adapters.begin(), picked.refresh()]).catch(showError);
await RunLogs.tidy(async (id) => (await adapters.store.get(id)) !== undefined).catch(showError);
await offerWhatIsKept();
await beginTogether().catch(showError);
await shelf.begin();
library.begin();
