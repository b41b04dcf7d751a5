import { Dataset, Trainer, type AdapterFiles, type Plan, type RunEvent } from "tabtune";
import { broughtAdapter, type Brought } from "./adapter-files.js";
import type { Asking } from "../chat/asking.js";
import { block, type Busy, type Task } from "../shell/busy.js";
import { element, say, show, write } from "../ui/dom.js";
import { downloadAdapter } from "../ui/download.js";
import { begunOf, type Begun } from "./begun.js";
import { takeOverEarlier } from "./earlier.js";
import { entriesIn, needing, tidy, type LearntEntry } from "./entries.js";
import { messageOf, showError } from "../shell/errors.js";
import { Exporting } from "./exporting.js";
import type { Job, Loading, Order } from "../work/job.js";
import { endRenaming } from "./renaming.js";
import { LearntStore, type Learnt } from "./learnt.js";
import type { ModelName } from "../train/model-name.js";
import type { Ending, Follower } from "../work/run.js";
import type { Config } from "../train/settings.js";
import { Unsaved } from "./unsaved.js";

const HINTS = {
  none: "A small file that holds what a run has learnt: to download it, give it away and open it again.",
  some: "As a zip file, which this page opens again, and so does PEFT in Python.",
  model: "All weights were trained, so there is no adapter, but a model of its own. It is kept as the last checkpoint of its run; save it for other programs.",
};

/** The parts of the page that what was learnt has to do with. */
export interface Page {
  busy: Busy;
  asking: Asking;
  /** The work whose progress the training card shows. */
  task: Task;
  job(): Job;
  /** How the model of that name is loaded, or the one that is chosen now, once its settings are there. */
  loading(name: ModelName | undefined): Promise<Loading>;
  /** Goes on with a run. */
  goOn(order: () => Promise<Order>): void;
  /** Asks what stands in the field. */
  ask(): Promise<void>;
  /** A run of these settings begins, or goes on. */
  begun(plan: Plan, config: Config): void;
  event(event: RunEvent): void;
}

/** What was learnt: kept, opened, downloaded, renamed, deleted. The library lists it. */
export class Adapters implements Follower {
  readonly store = new LearntStore();
  readonly #page: Page;
  readonly #unsaved = new Unsaved();
  readonly #exporting: Exporting;
  /** The run that came to its end last. */
  #over: string | undefined;
  /** Why the last checkpoint was not saved that should have been. */
  #failed = "";
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;
  #entries: LearntEntry[] = [];

  constructor(page: Page) {
    this.#page = page;
    element("download").addEventListener("click", () => this.#work(() => this.#download()));
    this.#exporting = new Exporting(page.busy, page.job, {
      name: () => this.#openName(),
      // An adapter is not safe by that: the page opens no merged model as one.
      saved: () => this.#unsaved.held && !this.#unsaved.held.files && this.#unsaved.downloaded(),
    });
    const picker = element<HTMLInputElement>("adapter-files");
    element("open-adapter").addEventListener("click", () => picker.click());
    picker.addEventListener("change", () => {
      const files = [...(picker.files ?? [])];
      picker.value = "";
      if (files.length > 0) this.#openFiles(files);
    });
  }

  /** Brings the list in order when the page begins. */
  async begin(): Promise<void> {
    await takeOverEarlier(this.store);
    await endRenaming(this.store);
    await tidy(this.store);
  }

  async refresh(): Promise<void> {
    const open = this.#page.job().adapter;
    const is_model = open?.is_model ?? false;
    const has_some = (this.#unsaved.held ?? open) !== undefined;
    block("download", !has_some);
    show("download", !is_model);
    this.#exporting.offer(this.#page.job());
    this.#page.busy.update();
    write("download-title", is_model ? "Model" : "Adapter");
    write("download-hint", is_model ? HINTS.model : has_some ? HINTS.some : HINTS.none);
    // A run that is over and kept needs its checkpoints no more.
    if (this.#over !== undefined) await Trainer.forget(this.#over).catch(() => undefined);
    this.#over = undefined;
    const turn = ++this.#asked;
    const entries = await entriesIn(this.store);
    if (turn === this.#asked) this.#entries = entries;
    this.#page.busy.update();
  }

  /** What there is, as it was looked up last. */
  get entries(): readonly LearntEntry[] {
    return this.#entries;
  }

  needing(dataset: string): string[] {
    return needing(this.#entries, dataset);
  }

  /** Opens the files of what was learnt, to go on talking with it. */
  openKept(learnt: Learnt): void {
    this.#open(async () => ({
      learnt,
      files: await this.store.files(learnt.id),
      loading: { ...(await this.#page.loading(learnt.model)), config: learnt.config },
    }));
  }

  /** Goes on with a run from its last checkpoint, or opens what that is if it is the run's end. */
  goOn(learnt: Learnt): void {
    this.#page.goOn(() => this.#order(learnt));
  }

  /** What begins a run anew that came to nothing, with the settings that it had. */
  async anew(begun: Begun): Promise<Order> {
    const { dataset } = begun.rows;
    const order = await this.#order(begun);
    return { ...order, id: `${dataset} ${new Date().toISOString()}`, name: await this.newName(dataset), ...(begun.asks && { asks: begun.asks }) };
  }

  /** Forgets something that was learnt, with the checkpoints of its run. */
  async delete({ id }: Learnt): Promise<void> {
    await this.#page.job().letGo(id);
    await Trainer.forget(id);
    await this.store.delete(id);
    if (this.#unsaved.held?.id === id) this.#unsaved.clear();
  }

  /** What is kept of what is open. */
  async open(): Promise<Learnt | undefined> {
    const open = this.#page.job().adapter;
    return open && this.store.get(open.id);
  }

  /** The rows of what is open, where they are known. */
  async openRows(): Promise<Learnt["rows"]> {
    return (await this.open())?.rows ?? null;
  }

  /** Keeps what a measurement of it came to. */
  measured(id: string, measured: string): Promise<void> {
    return this.store.measured(id, measured);
  }

  /** Whether work may begin that takes the place of what the page has at hand. */
  mayGo(): boolean {
    return this.#unsaved.mayGo();
  }

  /** A name for a run on rows of that name, unlike those that are there. */
  async newName(rows: string): Promise<string> {
    const taken = new Set((await this.store.all()).map(({ name }) => name));
    for (let number = 1; ; number++) {
      const name = number === 1 ? rows : `${rows} (${number})`;
      if (!taken.has(name)) return name;
    }
  }

  async begun(order: Order, plan: Plan): Promise<void> {
    this.#page.begun(plan, order.config);
    try {
      if (!(await this.store.get(order.id))) await this.store.put(learntOf(order));
    } catch {
      // Where there is no room, that is told once there is something to lose.
    }
  }

  event(event: RunEvent): void {
    if (event.type === "checkpoint-failed") this.#failed = event.detail ?? "";
    this.#page.event(event);
  }

  async learnt(order: Order, { step, is_early, heldout }: Ending, files: AdapterFiles | undefined): Promise<void> {
    const { id, name } = order;
    try {
      if (!files && (await Trainer.checkpoints(id)).at(-1)?.step !== step) throw new Error(this.#failed);
      // What was measured before was of an earlier part of the run.
      const { measured: _, heldout: __, ...learnt } = (await this.store.get(id)) ?? learntOf(order);
      await this.store.keep({ ...learnt, steps: step, is_early, ...(heldout && { heldout }), date: Date.now() }, files);
      this.#unsaved.clear();
    } catch (thrown) {
      return this.#unsaved.tell(messageOf(thrown), { id, name, files });
    }
    if (files && (is_early || step === order.config.train.max_steps)) this.#over = id;
  }

  #work(work: () => Promise<void>): void {
    void this.#page.busy.run(work);
  }

  /** What the person calls the adapter that is open: it may have been renamed since. */
  async #openName(): Promise<string> {
    const { id, name } = this.#page.job().adapter!;
    return (await this.store.get(id).catch(() => undefined))?.name ?? name;
  }

  async #download(): Promise<void> {
    const job = this.#page.job();
    const { held } = this.#unsaved;
    const { id, name } = held ?? job.adapter!;
    const learnt = await this.store.get(id).catch(() => undefined);
    // What is kept may be of an earlier part of the run than what is held.
    const files = held?.files ?? (learnt?.has_files ? await this.store.files(id) : await job.save());
    downloadAdapter(learnt?.name ?? name, files);
    this.#unsaved.downloaded();
  }

  #openFiles(picked: File[]): void {
    this.#open(async () => {
      const { name, files, base, signed_by } = await broughtAdapter(picked);
      // A folder's name says nothing of where its files are now: the model that is chosen is taken.
      const loading = await this.#page.loading(base?.kind === "folder" ? undefined : base);
      const date = Date.now();
      const id = `${name} ${new Date(date).toISOString()}`;
      const { config, model } = loading;
      const learnt: Learnt = { version: 1, id, name, model: model.name, config, rows: null, question: null, has_files: false, steps: null, date };
      return { learnt, files, loading, signed_by };
    });
  }

  #open(read: () => Promise<{ learnt: Learnt; files: AdapterFiles; loading: Loading; signed_by?: Brought["signed_by"] }>): void {
    if (!this.mayGo()) return;
    const { busy, job, asking, task } = this.#page;
    const work = async (signal: AbortSignal) => {
      const { learnt, files, loading, signed_by } = await read();
      await job().open(learnt, files, loading, signal);
      if (!learnt.has_files) await this.store.keep(learnt, files).catch(showError);
      asking.follow(learnt.question);
      const signed = signed_by ? ` It was signed by “${signed_by.name}” with the key ${signed_by.fingerprint}.` : "";
      say(`“${learnt.name}” is open.${signed}`);
    };
    void busy.run(work, task).then((done) => (done ? this.#page.ask() : undefined));
  }

  /** A run as it was ordered, to go on with it. */
  async #order({ id, name, model, config, rows, question }: Learnt | Begun): Promise<Order> {
    const { dataset, heldout, is_chat, count } = rows!;
    const opened = {
      dataset: await Dataset.open(dataset),
      heldout: heldout === null ? undefined : await Dataset.open(heldout),
      is_chat,
      count,
      question,
    };
    return { ...(await this.#page.loading(model)), id, name, config, rows: opened };
  }
}

function learntOf(order: Order): Learnt {
  const { asks: _, ...begun } = begunOf(order);
  return { version: 1, ...begun, has_files: false, steps: 0 };
}
