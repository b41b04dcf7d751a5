import {
  Trainer,
  type AdapterFiles,
  type Exported,
  type GenerateOptions,
  type Message,
  type Prompt,
  type RunPolicy,
  type SaveOptions,
} from "tabtune";
import type { Asking } from "../chat/asking.js";
import type { Rows } from "../data/data.js";
import type { DeviceForm } from "../train/device.js";
import { element, say, show, write } from "../ui/dom.js";
import { isCancelled, showError } from "../shell/errors.js";
import { MissingInput } from "../ui/missing.js";
import { bytes } from "../ui/format.js";
import { isHere } from "./is-here.js";
import type { Learnt } from "../library/learnt.js";
import { LoadingWords } from "./loading.js";
import type { Look } from "../data/look.js";
import type { Model } from "../train/model.js";
import type { ModelName } from "../train/model-name.js";
import type { Progress } from "../watch/progress.js";
import { askedBy, promptOf, type Question } from "./question.js";
import { LiveRun, type Follower } from "./run.js";
import { beginLive } from "../watch/live.js";
import { sampleOptions, showSamplesOf, type Made } from "../watch/samples.js";
import { readingOf } from "../train/reading.js";
import { trainsAll, type Config } from "../train/settings.js";
import { LONGEST_ANSWER, type Answer } from "./streaming.js";

/** What an opened adapter is called beside the model: each takes the place of the one before. */
const OPENED = "opened";
/** What a mixture is called until it is on the shelf. */
const MIXED = "mixed";
/** What the engine calls what a run learns. */
const OF_RUN = "default";

/** Measurements of held-out rows without progress after which a run ends that keeps its best. */
const PATIENCE = 3;

/** What is loaded, and how. */
export interface Loading {
  model: Model;
  config: Config;
  policy: Partial<RunPolicy> | false;
}

/** What was learnt and takes part in answers. */
export interface Open {
  id: string;
  name: string;
  /** Whether it is a whole model, and no adapter. */
  is_model: boolean;
}

/** An adapter that is kept on the shelf. */
export interface Shelved {
  name: string;
  /** Tells it from others, also of the same name: it may have been renamed or put there anew. */
  key: string;
  files(): Promise<AdapterFiles>;
}

/** Who answers: the model as it came, with what a run learnt or a person opened, or with an adapter of the shelf. */
export type Voice = "base" | "own" | Shelved;

/** What is to be done, as the form has it. */
export interface Order extends Loading {
  /** The name of the run, which no other run has. */
  id: string;
  /** What the person knows it by. */
  name: string;
  rows: Rows;
  /** What it is asked as it learns, and how often; by default the first question of its rows. */
  asks?: { questions: Question[]; made: Made };
}

/** The parts of the page that the model has to do with. */
export interface Parts {
  device: DeviceForm;
  look: Look;
  asking: Asking;
  follower: Follower;
}

/** The one model of the page: loading, looking, training, asking, saving. */
export class Job {
  readonly #progress: Progress;
  readonly #device: DeviceForm;
  readonly #look: Look;
  readonly #asking: Asking;
  readonly #follower: Follower;
  #trainer: Trainer | undefined;
  /** What the trainer was loaded for, the last of it for runs alone. One that failed is not used again. */
  #loaded: { source: Model["source"]; name: ModelName; how: string; run: string } | undefined;
  #run: LiveRun | undefined;
  /** The run or the opened adapter that the trainer has, and what the trainer calls it. */
  #own: (Open & { adapter: string }) | undefined;
  /** Who answers while nothing else is asked for. */
  #voice: Voice = "own";
  /** Hears how far a measurement has come, in percent. */
  #measuring: ((percent: number) => void) | undefined;

  constructor(progress: Progress, { device, look, asking, follower }: Parts) {
    this.#progress = progress;
    this.#device = device;
    this.#look = look;
    this.#asking = asking;
    this.#follower = follower;
    element("pause").addEventListener("click", () => void this.#pause().catch(showError));
    element("continue").addEventListener("click", () => this.#trainer?.resume());
    this.#clear();
  }

  /** What takes part in answers, if anything was learnt. */
  get adapter(): Open | undefined {
    if (!this.#trainer || this.#trainer.ended || this.#voice === "base") return undefined;
    if (this.#voice === "own") return this.#own;
    return { id: idOf(this.#voice), name: this.#voice.name, is_model: false };
  }

  /** The run or the opened adapter, whoever answers now. */
  get own(): Open | undefined {
    return this.#trainer?.ended ? undefined : this.#own;
  }

  /** Who answers now, where a model is there to do so. */
  get voice(): Voice | undefined {
    if (!this.#trainer || this.#trainer.ended) return undefined;
    return this.#voice === "own" && !this.#own ? "base" : this.#voice;
  }

  /** Whether somebody was chosen to answer, so that the model stays whatever the form says. */
  get is_held(): boolean {
    return this.voice !== undefined && (this.#own !== undefined || this.#voice !== "own");
  }

  /** The model that is loaded, and what tells it from others. */
  get base(): { name: ModelName; fingerprint: string; parameters: number } | undefined {
    if (!this.#loaded || !this.#trainer || this.#trainer.ended) return undefined;
    const { fingerprint, parameters } = this.#trainer.model;
    return { name: this.#loaded.name, fingerprint, parameters };
  }

  /** The last step of the run that is saved; undefined where none has begun. */
  get saved_step(): number | undefined {
    return this.#run?.saved_step;
  }

  /** Loads a model in place of the one before, unless that is the same. */
  async load({ model, config, policy }: Loading, signal: AbortSignal, rows?: Rows): Promise<Trainer> {
    this.#progress.going();
    const { quantization, lora } = config;
    const heldout = rows?.heldout;
    const how = JSON.stringify([model.hub, quantization, this.#device.value]);
    const run = JSON.stringify([lora, heldout?.name]);
    const is_same = this.#loaded?.source === model.source && this.#loaded.how === how && (!rows || this.#loaded.run === run);
    if (this.#trainer && !this.#trainer.ended && is_same) return this.#trainer;
    if (!navigator.onLine && !(await isHere(model.name))) throw new MissingInput(`You are offline, and ${model.name.name} is not in this browser yet. Connect to the network once, or choose a model that is here already.`);
    await this.#close();
    say("Loading the model…");
    const words = new LoadingWords();
    this.#trainer = await Trainer.load(model.source, {
      ...model.hub,
      quantization,
      lora,
      policy,
      device: this.#device.value,
      ...(heldout && { eval_dataset: heldout }),
      signal,
      progress_callback: (event) => {
        if (this.#measuring) {
          if (event.status === "evaluate") this.#measuring(event.progress ?? 0);
          return;
        }
        write("status", words.of(event));
        if (event.progress !== undefined && event.progress < 100) this.#progress.percent(event.progress);
        else element("progress").removeAttribute("value");
      },
    });
    this.#loaded = { source: model.source, name: model.name, how, run };
    this.#progress.percent(0);
    this.#device.show(this.#trainer.adapter);
    write("memory", bytes(this.#trainer.model.weight_bytes));
    return this.#trainer;
  }

  /** Shows the rows as the model sees them. */
  async look(order: Order, signal: AbortSignal): Promise<void> {
    await this.#careful(async () => {
      const trainer = await this.load(order, signal, order.rows);
      this.#progress.working("Turning the rows into tokens…");
      await this.#look.show(trainer, order.rows.dataset, trainConfig(order), signal);
      this.#progress.percent(0);
    });
  }

  /** A whole run, until its last step or until it is stopped; `resumes` goes on from its last checkpoint. */
  async train(order: Order, resumes: boolean, signal: AbortSignal): Promise<void> {
    this.#clear();
    this.#run = undefined;
    await this.look(order, signal);
    await this.#careful(async () => {
      const trainer = this.#trainer!;
      const { question } = order.rows;
      const questions = order.asks?.questions ?? (question ? [question] : []);
      const samples = sampleOptions(trainer, questions.map((asked) => promptOf(asked, this.has_chat_template)), order.asks?.made);
      beginLive(questions.map(({ text }) => text));
      const train = trainConfig(order);
      const patience = train.load_best_model_at_end ? { early_stopping_patience: PATIENCE } : {};
      const options = { ...train, ...patience, ...samples, policy: order.policy, run_name: order.id };
      const run = (this.#run = new LiveRun(trainer, order, this.#progress, this.#follower));
      this.#own = undefined;
      this.#voice = "own";
      const has_learnt = await run.train(options, resumes, signal);
      if (has_learnt) await showSamplesOf(trainer);
      const is_model = trainsAll(order.config);
      if (has_learnt) this.#own = { id: order.id, name: order.name, is_model, adapter: OF_RUN };
    });
  }

  /** Has the model learn by other work than a run, which tells whether anything was learnt. */
  async learn(order: Order, work: (trainer: Trainer, progress: Progress) => Promise<boolean>, signal: AbortSignal): Promise<void> {
    this.#clear();
    this.#run = undefined;
    await this.#careful(async () => {
      const trainer = await this.load(order, signal, order.rows);
      this.#own = undefined;
      this.#voice = "own";
      if (await work(trainer, this.#progress)) this.#own = { id: order.id, name: order.name, is_model: false, adapter: OF_RUN };
    });
  }

  /** Loads an adapter's files beside its model, which then answers with it. */
  async open({ id, name }: Learnt, files: AdapterFiles, loading: Loading, signal: AbortSignal): Promise<void> {
    this.#clear();
    this.#run = undefined;
    await this.#careful(async () => {
      const trainer = await this.load(loading, signal);
      this.#progress.opened({ id, name });
      this.#progress.working("Opening the adapter…");
      await trainer.adapters.load(OPENED, files);
      this.#own = { id, name, is_model: false, adapter: OPENED };
      this.#voice = "own";
      this.#progress.percent(0);
    });
  }

  /** Lets another one answer. Only an adapter that the engine has not yet is loaded; the model stays as it is. */
  async speak(voice: Voice): Promise<void> {
    await this.#activate(voice);
    this.#voice = voice;
  }

  /** Makes one adapter of several of the shelf, by their weights. Who answers stays the same. */
  async blend(parts: { of: Shelved; weight: number }[]): Promise<AdapterFiles> {
    const trainer = this.#trainer!;
    const { active } = trainer.adapters;
    try {
      for (const { of } of parts) await this.#activate(of);
      await trainer.adapters.blend(MIXED, parts.map(({ of, weight }) => ({ adapter: idOf(of), weight })));
      const files = await trainer.save(MIXED);
      await trainer.adapters.delete(MIXED);
      return files;
    } finally {
      await this.#back(active);
    }
  }

  /** Asks the model as it came and, once there is one, the tuned model. */
  async ask(signal: AbortSignal): Promise<void> {
    const voices: Voice[] = this.adapter ? ["base", this.#voice] : ["base"];
    const sides = voices.map((voice) => ({
      // The model as it came is asked past whatever adapter there is.
      before: async () => (voice === "base" ? undefined : this.#activate(voice)),
      answer: (question: Question) => this.#answer(question, voice !== "base", signal),
    }));
    const { active } = this.#trainer!.adapters;
    try {
      await this.#asking.ask(sides);
    } finally {
      await this.#back(active);
    }
  }

  /** Whether the model that is loaded can be asked as a chat. */
  get has_chat_template(): boolean {
    return this.#trainer!.model.has_chat_template;
  }

  /** Answers a chat, with what was learnt unless `adapter` is false. */
  answer(turns: Message[], how: GenerateOptions, signal: AbortSignal): Answer {
    const adapter = how.adapter ?? this.adapter !== undefined;
    return this.#generate(...askedBy(turns, { ...how, adapter }, this.has_chat_template), signal);
  }

  /** Answers a chat as somebody else would. Once that is over the one answers again that did before. */
  async *answerAs(voice: Voice, turns: Message[], how: GenerateOptions, signal: AbortSignal): Answer {
    const { active } = this.#trainer!.adapters;
    try {
      // The model as it came is asked past whatever adapter there is.
      if (voice !== "base") await this.#activate(voice);
      return yield* this.#generate(...askedBy(turns, { ...how, adapter: voice !== "base" }, this.has_chat_template), signal);
    } finally {
      await this.#back(active);
    }
  }

  /** Measures what was learnt; `report` hears how far that has come, in percent. */
  async measure(work: (trainer: Trainer) => Promise<void>, report: (percent: number) => void): Promise<void> {
    this.#measuring = report;
    try {
      await work(this.#trainer!);
    } finally {
      this.#measuring = undefined;
    }
  }

  save(): Promise<AdapterFiles> {
    return this.#trainer!.save();
  }

  /** Values of the model that has learnt something. */
  get parameters(): number | undefined {
    return this.adapter && this.#trainer?.model.parameters;
  }

  /** Writes the model with the adapter merged into it, or the adapter, for other programs. */
  export(options: SaveOptions): Promise<Exported> {
    return this.#trainer!.save(options);
  }

  /** What it is asked to do ends soon. */
  stopping(): void {
    this.#progress.stopping(this.#run?.is_in_step ?? false);
  }

  /** Gives up that run or adapter, so that it can be deleted. */
  async letGo(id: string): Promise<void> {
    if (this.#own?.id === id || this.#run?.id === id) await this.#close();
  }

  /** Takes an adapter of the shelf out of the engine, so that it can be deleted. */
  async drop(shelved: Shelved): Promise<void> {
    if (!this.#trainer || this.#trainer.ended || !(await this.#has(shelved))) return;
    await this.#trainer.adapters.delete(idOf(shelved));
    if (typeof this.#voice === "object" && this.#voice.key === shelved.key) await this.speak(this.#own ? "own" : "base");
  }

  async #has(shelved: Shelved): Promise<boolean> {
    return (await this.#trainer!.adapters.list()).some(({ name }) => name === idOf(shelved));
  }

  /** Lets the adapter answer again that did before, if any. Where that fails, the next question says so. */
  async #back(active: string | null): Promise<void> {
    const { adapters } = this.#trainer!;
    if (adapters.active === active) return;
    await (active === null ? adapters.off() : adapters.switch(active)).catch(() => undefined);
  }

  /** Makes a voice the one that the engine answers by. */
  async #activate(voice: Voice): Promise<void> {
    const { adapters } = this.#trainer!;
    const name = voice === "base" ? undefined : voice === "own" ? this.#own?.adapter : idOf(voice);
    if (typeof voice === "object" && !(await this.#has(voice))) await adapters.load(name!, await voice.files());
    else if (name === undefined) await adapters.off();
    else if (adapters.active !== name) await adapters.switch(name);
  }

  #answer(question: Question, adapter: boolean, signal: AbortSignal) {
    return this.#generate(promptOf(question, this.has_chat_template), { adapter }, signal);
  }

  #generate(prompt: Prompt, how: GenerateOptions, signal: AbortSignal): Answer {
    return this.#trainer!.generate(prompt, { max_new_tokens: LONGEST_ANSWER, ...how, signal });
  }

  async #pause(): Promise<void> {
    show("pause", false);
    say("Pausing…");
    await this.#trainer?.pause();
  }

  /** After a failure the model is loaded anew next time; being stopped does it no harm. */
  async #careful(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (thrown) {
      if (!isCancelled(thrown)) this.#loaded = undefined;
      throw thrown;
    }
  }

  async #close(): Promise<void> {
    const trainer = this.#trainer;
    this.#trainer = undefined;
    this.#loaded = undefined;
    this.#own = undefined;
    this.#voice = "own";
    this.#look.clear();
    // What is thrown away may well be broken.
    await trainer?.dispose().catch(() => undefined);
  }

  #clear(): void {
    beginLive([]);
    this.#progress.clear();
    this.#asking.idle();
    show("samples-part", false);
  }
}

/** The settings of the run for these rows: where some are held out already, that is enough. */
function trainConfig({ config, rows }: Order): Config["train"] {
  return { ...config.train, ...readingOf(config, rows), ...(rows.heldout && { test_size: 0 }) };
}

/** What an adapter of the shelf is called beside the model. */
function idOf({ key }: Shelved): string {
  return `shelf ${key}`;
}
