import { cardFor, inspectAdapter, openShelf, withCard, type CardDetails, type ExchangedFiles, type Shelf, type ShelvedAdapter } from "tabtune/exchange";
import type { Busy, Task } from "../shell/busy.js";
import { CardDialog, type Found, type Shown } from "./card-dialog.js";
import { element, say, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { Getting } from "./getting.js";
import { Giving } from "./giving.js";
import type { Job, Loading, Shelved, Voice } from "../work/job.js";
import type { MarkedAdapter } from "./items.js";
import type { Learnt, LearntStore } from "./learnt.js";
import { sha256 } from "./archive/sums.js";
import { Mixing, recipeOf } from "./mixing.js";
import { MissingInput } from "../ui/missing.js";
import { modelWords, type ModelName } from "../train/model-name.js";
import { baseOf, fits } from "./shelf-words.js";
import { choiceOf, nameIn, Voices } from "../chat/voices.js";

/** The parts of the page that the shelf has to do with. */
export interface ShelfPage {
  busy: Busy;
  /** The work whose progress the training card shows. */
  task: Task;
  job(): Job;
  /** How the model of that name is loaded, or the one that is chosen now. */
  loading(name: ModelName | undefined): Promise<Loading>;
  /** Whether work may begin that takes the place of what the page has at hand. */
  mayGo(): boolean;
  /** What is kept of what was learnt or opened and answers now. */
  open(): Promise<Learnt | undefined>;
  /** Where all of that is kept. */
  learnt: LearntStore;
  /** Asks what stands in the field. */
  ask(): Promise<void>;
}

/** The shelf: adapters that are kept by name, to switch between, to compare, to mix and to give away. */
export class ShelfCard {
  readonly #page: ShelfPage;
  /** Who can answer. */
  readonly voices: Voices;
  readonly #mixing: Mixing;
  readonly #giving: Giving;
  readonly #card: CardDialog;
  readonly #getting: Getting;
  #shelf: Promise<Shelf> | undefined;
  #entries: ShelvedAdapter[] = [];
  /** The sums of weights that no card tells, by the keys of their adapters. */
  readonly #marks = new Map<string, string>();

  constructor(page: ShelfPage) {
    this.#page = page;
    const { busy } = page;
    this.voices = new Voices((choice) => this.#choose(choice));
    this.#mixing = new Mixing((name, weights) => this.#work(() => this.#mix(name, weights)));
    this.#giving = new Giving(busy);
    this.#card = new CardDialog(busy, {
      base: () => page.job().base,
      keep: (found) => this.#keep(found),
      try: (entry) => void this.#use(entry).then((does) => (does ? page.ask() : undefined)),
      give: (entry) => this.#giving.open(entry),
    });
    this.#getting = new Getting(busy, this.#card);
    element("shelve").addEventListener("click", () => this.#work(() => this.#keepOpen()));
    element("shelf-off").addEventListener("click", () => this.#choose("base"));
  }

  /** Begins with what the browser keeps, and with the adapter that the page's address links to. */
  async begin(): Promise<void> {
    await this.refresh();
    this.#getting.begin();
  }

  /** Shows anew what there is, and who answers. */
  async refresh(): Promise<void> {
    try {
      this.#entries = await (await this.#open()).list();
    } catch (thrown) {
      // Pages that may keep nothing have no shelf, and can do all else.
      this.#shelf = undefined;
      show("shelf-tools", false);
      write("shelf-hint", thrown instanceof Error ? thrown.message : String(thrown));
      return;
    }
    const job = this.#page.job();
    const { voice } = job;
    const now = typeof voice === "object" ? voice.key : undefined;
    // What learnt all weights is a model, and no adapter.
    const is_new = voice === "own" && job.own?.is_model === false && !(await this.#has(job.own.id));
    show("shelf-empty", this.#entries.length === 0);
    show("shelf-full", this.#entries.length > 0);
    write("shelf-count", `${count(this.#entries.length, "adapter")} on the shelf.`);
    show("shelf-off", now !== undefined);
    show("shelve", is_new);
    this.#mixing.offer(this.#entries.map(({ name }) => name));
    this.voices.offer(this.#entries, job);
    this.#page.busy.update();
  }

  /** The adapters on it as they were looked up last, each with what its weights are told apart by. */
  async marked(): Promise<MarkedAdapter[]> {
    return Promise.all(this.#entries.map(async (entry) => ({ ...entry, mark: await this.#markOf(entry).catch(() => undefined) })));
  }

  /** The key of the one that answers now. */
  get answers(): string | undefined {
    const { voice } = this.#page.job();
    return typeof voice === "object" ? voice.key : undefined;
  }

  /** Its adapters as files, to be taken along and brought. */
  get shelf(): Promise<Shelf> {
    return this.#open();
  }

  /** Lets an adapter answer from now on. */
  use({ name }: ShelvedAdapter): void {
    this.#choose(choiceOf(name));
  }

  /** Shows the card of one of the shelf, or the card that what was learnt would get. */
  async card(subject: ShelvedAdapter | Learnt): Promise<void> {
    this.#card.show(await this.#shownOf(subject));
  }

  /** Asks how it is to be given away. */
  async give(subject: ShelvedAdapter | Learnt): Promise<void> {
    this.#giving.open(await this.#shownOf(subject));
  }

  /** Puts something that was learnt on the shelf, to switch to it while others are asked. */
  async shelve(learnt: Learnt): Promise<void> {
    const { name, files } = await this.#shownOf(learnt);
    const { name: kept } = await (await this.#open()).put(freeName(name, this.#entries), await files());
    say(`“${kept}” is on the shelf.`);
  }

  async rename({ name }: ShelvedAdapter, to: string): Promise<void> {
    await (await this.#open()).rename(name, to);
  }

  async delete(entry: ShelvedAdapter): Promise<void> {
    await this.#page.job().drop(shelvedOf(entry, () => this.#open()));
    await (await this.#open()).delete(entry.name);
  }

  #open(): Promise<Shelf> {
    return (this.#shelf ??= openShelf());
  }

  async #shownOf(subject: ShelvedAdapter | Learnt): Promise<Shown> {
    const { name } = subject;
    if ("inspection" in subject) return { ...subject, files: async () => (await this.#open()).open(name) };
    const files = await this.#page.learnt.files(subject.id);
    const base = this.#page.job().own?.id === subject.id ? this.#page.job().base : undefined;
    const card = await cardFor(files, { title: name, ...(base && { base_model: { fingerprint: base.fingerprint } }), ...toldOf(subject) });
    return { name, card, signed_by: null, inspection: await inspectAdapter(files), files: async () => withCard(files, card) };
  }

  /** Whether that which was learnt or opened is on the shelf already. */
  async #has(id: string): Promise<boolean> {
    const weights = (await this.#page.learnt.get(id).catch(() => undefined))?.weights;
    return weights !== undefined && (await this.marked()).some(({ mark }) => mark === weights);
  }

  /** A card tells the sum; of what has none it is taken once. */
  async #markOf({ card, kept, name }: ShelvedAdapter): Promise<string> {
    const known = card?.files["adapter_model.safetensors"] ?? this.#marks.get(kept);
    if (known !== undefined) return known;
    const mark = await sha256((await (await this.#open()).open(name))["adapter_model.safetensors"]);
    this.#marks.set(kept, mark);
    return mark;
  }

  /** Does work that ends with the list shown anew. */
  #work(work: () => Promise<void>): void {
    void this.#page.busy.run(work);
  }

  /** Lets another one answer, as a menu has it. */
  #choose(choice: string): void {
    const name = nameIn(choice);
    if (name !== undefined) return void this.#use(this.#entry(name));
    const job = this.#page.job();
    if (!job.base) return;
    this.#work(async () => {
      await job.speak(choice === "own" ? "own" : "base");
      say(choice === "own" ? `“${job.own?.name}” answers now.` : "The model answers as it came.");
    });
  }

  /** Lets an adapter answer. Resolves to whether it does. */
  async #use(entry: ShelvedAdapter): Promise<boolean> {
    const { busy, task } = this.#page;
    const work = (signal: AbortSignal) => this.#speak(entry, signal);
    return busy.run(work, this.#stays(entry) ? {} : task);
  }

  /** Whether the model that is loaded can stay for an adapter. */
  #stays(entry: ShelvedAdapter): boolean {
    const { base } = this.#page.job();
    if (!base) return false;
    const made_for = baseOf(entry);
    return fits(entry, base) !== "no" || !made_for || made_for.kind === "folder";
  }

  async #speak(entry: ShelvedAdapter, signal: AbortSignal): Promise<void> {
    await this.#ready(entry, signal);
    await this.#page.job().speak(shelvedOf(entry, () => this.#open()));
    say(`“${entry.name}” answers now.`);
  }

  /** Loads the model of an adapter, unless the one that is there can stay. */
  async #ready(entry: ShelvedAdapter, signal: AbortSignal): Promise<void> {
    if (this.#stays(entry)) return;
    const job = this.#page.job();
    const made_for = baseOf(entry);
    const name = made_for?.kind === "folder" ? undefined : made_for;
    if (name && !this.#mayLoad(entry, name, job)) throw new DOMException("The person stays with the model.", "AbortError");
    await job.load(await this.#page.loading(name), signal);
  }

  /** A stranger's adapter may name any model, and models are large: what is downloaded or takes another's place is asked about. */
  #mayLoad(entry: ShelvedAdapter, name: ModelName, { base }: Job): boolean {
    if (!base && name.kind !== "hub") return true;
    const from = name.kind === "hub" ? " from Hugging Face, which is downloaded unless this browser has it" : "";
    const load = base ? `Load that in place of ${modelWords(base.name)}?` : "Load that model?";
    return confirm(`“${entry.name}” was made for ${modelWords(name)}${from}. ${load}`) && this.#page.mayGo();
  }

  /** The voice that a choice of {@link voices} stands for. */
  voiceOf(choice: string): Voice {
    const name = nameIn(choice);
    if (name === undefined) return choice === "own" ? "own" : "base";
    return shelvedOf(this.#entry(name), () => this.#open());
  }

  #entry(name: string): ShelvedAdapter {
    const entry = this.#entries.find((other) => other.name === name);
    if (!entry) throw new MissingInput(`“${name}” is no longer on the shelf.`);
    return entry;
  }

  /** Puts on the shelf what was learnt or opened. */
  async #keepOpen(): Promise<void> {
    const job = this.#page.job();
    const learnt = await this.#page.open();
    const name = freeName(learnt?.name ?? job.own!.name, this.#entries);
    const files = await job.save();
    const { fingerprint } = job.base!;
    const card = await cardFor(files, { title: name, base_model: { fingerprint }, ...(learnt && toldOf(learnt)) });
    await (await this.#open()).put(name, withCard(files, card));
    say(`“${name}” is on the shelf.`);
  }

  /** Puts on the shelf what came from outside. */
  async #keep({ files, name }: Found): Promise<ShelvedAdapter> {
    const entry = await (await this.#open()).put(freeName(name, this.#entries), files);
    await this.refresh();
    say(`“${entry.name}” is on the shelf.`);
    return entry;
  }

  async #mix(wanted: string, weights: Map<string, number>): Promise<void> {
    const parts = this.#entries.filter(({ name }) => weights.has(name)).map((entry) => ({ entry, weight: weights.get(entry.name)! }));
    if (parts.length === 0) throw new MissingInput("Move a slider first: all of them are at 0, so there is nothing to mix.");
    const words = recipeOf(parts.map(({ entry, weight }) => [entry.name, weight]));
    const name = freeName(wanted || `Mix of ${parts.map(({ entry }) => entry.name).join(" and ")}`, this.#entries);
    const job = this.#page.job();
    await this.#ready(parts[0]!.entry, new AbortController().signal);
    const files = await job.blend(parts.map(({ entry, weight }) => ({ of: shelvedOf(entry, () => this.#open()), weight })));
    const card = await cardFor(files, { title: name, method: "blend", words, base_model: { fingerprint: job.base!.fingerprint } });
    const entry = await (await this.#open()).put(name, withCard(files, card));
    await job.speak(shelvedOf(entry, () => this.#open()));
    this.#mixing.clear();
    say(`“${name}” is on the shelf, and answers now.`);
  }
}

/** An entry as the model's part of the page has it at hand. */
function shelvedOf({ name, kept }: ShelvedAdapter, shelf: () => Promise<Shelf>): Shelved {
  return { name, key: kept, files: async (): Promise<ExchangedFiles> => (await shelf()).open(name) };
}

/** A name for the shelf, unlike those that are there. */
function freeName(wanted: string, entries: ShelvedAdapter[]): string {
  const plain = wanted.replace(/\p{C}/gu, " ").trim().slice(0, 70).trim() || "adapter";
  for (let number = 1; ; number++) {
    const name = number === 1 ? plain : `${plain} (${number})`;
    if (entries.every((entry) => entry.name !== name)) return name;
  }
}

/** What a card tells of a run. */
function toldOf({ config, rows, steps, heldout }: Learnt): CardDetails {
  return {
    ...(rows && { method: config.train.method ?? "sft" }),
    ...(rows?.count != null && { rows: rows.count }),
    ...(steps !== null && { steps }),
    ...(heldout && { loss_before: heldout.before, loss_after: heldout.after }),
  };
}
