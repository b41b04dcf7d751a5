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
import type { Asking } from "./asking.js";
import type { Rows } from "./data.js";
import type { DeviceForm } from "./device.js";
import { element, say, show, write } from "./dom.js";
import { isCancelled, showError } from "./errors.js";
import { bytes } from "./format.js";
import type { Learnt } from "./learnt.js";
import { LoadingWords } from "./loading.js";
import type { Look } from "./look.js";
import type { Model } from "./model.js";
import type { Progress } from "./progress.js";
import { promptOf, promptOfTurns, type Question } from "./question.js";
import { LiveRun, type Follower } from "./run.js";
import { sampleOptions, showSamplesOf } from "./samples.js";
import { trainsAll, type Config } from "./settings.js";
import { LONGEST_ANSWER, type Answer } from "./streaming.js";

/** What an opened adapter is called beside the model: each takes the place of the one before. */
const OPENED = "opened";

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

/** What is to be done, as the form has it. */
export interface Order extends Loading {
  /** The name of the run, which no other run has. */
  id: string;
  /** What the person knows it by. */
  name: string;
  rows: Rows;
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
  #loaded: { source: Model["source"]; how: string; run: string } | undefined;
  #run: LiveRun | undefined;
  /** The run or the opened adapter that the trainer has. */
  #adapter: Open | undefined;
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
    return this.#trainer?.ended ? undefined : this.#adapter;
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
    this.#loaded = { source: model.source, how, run };
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
      const samples = sampleOptions(trainer, question ? [promptOf(question, this.has_chat_template)] : []);
      const train = trainConfig(order);
      const patience = train.load_best_model_at_end ? { early_stopping_patience: PATIENCE } : {};
      const options = { ...train, ...patience, ...samples, policy: order.policy, run_name: order.id };
      const run = (this.#run = new LiveRun(trainer, order, this.#progress, this.#follower));
      this.#adapter = undefined;
      const has_learnt = await run.train(options, resumes, signal);
      if (has_learnt) await showSamplesOf(trainer);
      if (has_learnt) this.#adapter = { id: order.id, name: order.name, is_model: trainsAll(order.config) };
    });
  }

  /** Loads an adapter's files beside its model, which then answers with it. */
  async open({ id, name }: Learnt, files: AdapterFiles, loading: Loading, signal: AbortSignal): Promise<void> {
    this.#clear();
    this.#run = undefined;
    await this.#careful(async () => {
      const trainer = await this.load(loading, signal);
      this.#progress.working("Opening the adapter…");
      await trainer.adapters.load(OPENED, files);
      this.#adapter = { id, name, is_model: false };
      this.#progress.percent(0);
    });
  }

  /** Asks the base model and, once there is one, the tuned model. */
  async ask(signal: AbortSignal): Promise<void> {
    await this.#asking.ask((question, adapter) => this.#answer(question, adapter, signal), this.#adapter !== undefined);
  }

  /** Whether the model that is loaded can be asked as a chat. */
  get has_chat_template(): boolean {
    return this.#trainer!.model.has_chat_template;
  }

  /** Answers a chat, with what was learnt unless `adapter` is false. */
  answer(turns: Message[], how: GenerateOptions, signal: AbortSignal): Answer {
    const adapter = how.adapter ?? this.#adapter !== undefined;
    return this.#generate(promptOfTurns(turns, this.has_chat_template), { ...how, adapter }, signal);
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
    if (this.#adapter?.id === id || this.#run?.id === id) await this.#close();
  }

  #answer(question: Question, adapter: boolean, signal: AbortSignal) {
    return this.#generate(promptOf(question, this.has_chat_template), { adapter }, signal);
  }

  #generate(prompt: Prompt, how: GenerateOptions, signal: AbortSignal): Answer {
    return this.#trainer!.generate(prompt, { ...how, max_new_tokens: LONGEST_ANSWER, signal });
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
    this.#adapter = undefined;
    this.#look.clear();
    // What is thrown away may well be broken.
    await trainer?.dispose().catch(() => undefined);
  }

  #clear(): void {
    this.#progress.clear();
    this.#asking.idle();
    show("samples-part", false);
  }
}

/** The settings of the run for these rows: plain text has no answers to be learnt alone, and rows held out are enough. */
function trainConfig({ config, rows }: Order): Config["train"] {
  const { train } = config;
  const answers_only = train.assistant_only_loss ?? true;
  const learnt = { assistant_only_loss: rows.is_chat && answers_only, completion_only_loss: answers_only };
  // Of preferences the answers alone count anyway.
  const counted = train.method && train.method !== "sft" ? {} : learnt;
  return { ...train, ...counted, ...(rows.heldout && { test_size: 0 }) };
}

