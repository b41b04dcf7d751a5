import { Trainer, type AdapterFiles, type EvalLog, type RunEvent, type RunPolicy, type StepLog } from "tabtune";
import type { Rows } from "./data.js";
import { element, make, say, show, write } from "./dom.js";
import { isCancelled, showError } from "./errors.js";
import { bytes, count } from "./format.js";
import { LoadingWords } from "./loading.js";
import type { Look } from "./look.js";
import type { Model } from "./model.js";
import type { Progress } from "./progress.js";
import type { Config } from "./settings.js";

const NO_ANSWER = { base: "The model as it came.", tuned: "The model with your adapter, once it is trained." };

/** In tokens. */
const LONGEST_ANSWER = 256;

/** What is to be done, as the form has it. */
export interface Order {
  model: Model;
  config: Config;
  policy: Partial<RunPolicy> | false;
  rows: Rows;
}

/** What follows a run and hears of it. */
export interface Follower {
  /** A run of these was prepared, and takes its first step or goes on. */
  begun(order: Order): void;
  event(event: RunEvent): void;
  finished(order: Order): void;
}

/** The one model of the page: loading, looking, training, asking, saving, and what is shown of it. */
export class Job {
  readonly #progress: Progress;
  readonly #look: Look;
  readonly #follower: Follower;
  #trainer: Trainer | undefined;
  /** What the trainer was loaded for, the last of it for runs alone. One that failed is not used again. */
  #loaded: { source: Model["source"]; how: string; run: string } | undefined;
  /** The dataset whose run the trainer has. */
  #dataset: string | undefined;
  #trained = false;

  constructor(progress: Progress, look: Look, follower: Follower) {
    this.#progress = progress;
    this.#look = look;
    this.#follower = follower;
    element("pause").addEventListener("click", () => void this.#pause().catch(showError));
    element("continue").addEventListener("click", () => this.#trainer?.resume());
    this.#clear();
  }

  get trained(): boolean {
    return this.#trained;
  }

  /** Loads a model in place of the one before, unless that is the same. */
  async load({ model, config, policy, rows }: Omit<Order, "rows"> & { rows?: Rows }, signal: AbortSignal): Promise<Trainer> {
    const { quantization, lora } = config;
    const heldout = rows?.heldout;
    const how = JSON.stringify([model.hub, quantization]);
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
      ...(heldout && { eval_dataset: heldout }),
      signal,
      progress_callback: (event) => {
        write("status", words.of(event));
        if (event.progress !== undefined) this.#progress.percent(event.progress);
      },
    });
    this.#loaded = { source: model.source, how, run };
    this.#progress.percent(0);
    const { adapter } = this.#trainer;
    write("memory", bytes(this.#trainer.model.weight_bytes));
    element("memory").title = `${adapter.name || "GPU"}${adapter.is_software ? " (software)" : ""}`;
    return this.#trainer;
  }

  /** Shows the rows as the model sees them. */
  async look(order: Order, signal: AbortSignal): Promise<void> {
    await this.#careful(async () => {
      const trainer = await this.load(order, signal);
      await this.#look.show(trainer, order.rows.dataset, trainConfig(order), signal);
      this.#progress.percent(0);
    });
  }

  /** A whole run, until its last step or until it is stopped; `resumes` goes on from its last checkpoint. */
  async train(order: Order, resumes: boolean, signal: AbortSignal): Promise<void> {
    this.#clear();
    await this.look(order, signal);
    await this.#careful(() => this.#run(this.#trainer!, order, resumes, signal));
  }

  /** Asks the base model and, once there is one, the tuned model. */
  async ask(question: string, signal: AbortSignal): Promise<void> {
    const text = question.trim();
    if (!text) return;
    for (const id of ["answer-base", "answer-tuned"]) write(id, "");
    await this.#answer("answer-base", text, false, signal);
    if (this.#trained) await this.#answer("answer-tuned", text, true, signal);
    else this.#idle("answer-tuned", NO_ANSWER.tuned);
    if (!this.#trained) say("Ready.");
  }

  save(): Promise<AdapterFiles> {
    return this.#trainer!.save();
  }

  /** Gives up the run of that dataset, so that it can be forgotten, and its adapter with it. */
  async letGo(dataset: string): Promise<void> {
    if (this.#dataset === dataset) await this.#close();
  }

  async #run(trainer: Trainer, order: Order, resumes: boolean, signal: AbortSignal): Promise<void> {
    this.#trained = false;
    this.#dataset = order.rows.dataset.name;
    say("Getting ready…");
    const { policy } = order;
    const on_event = (event: RunEvent) => this.#heard(event);
    const options = { ...trainConfig(order), policy, on_event };
    const watch = new AbortController();
    const watches = () => watch.abort();
    element("watch").addEventListener("click", watches);
    try {
      const either = AbortSignal.any([signal, watch.signal]);
      await trainer.prepare(order.rows.dataset, { ...options, resume_from_checkpoint: resumes, if_running: "wait", signal: either });
    } catch (thrown) {
      if (watch.signal.aborted && isCancelled(thrown)) return await this.#watch(trainer, order, { ...options, signal });
      throw thrown;
    } finally {
      element("watch").removeEventListener("click", watches);
      show("waiting", false);
    }
    this.#progress.plan(trainer.plan!);
    this.#follower.begun(order);
    const has_heldout = trainer.plan!.eval_rows > 0;
    if (has_heldout && !trainer.plan!.resumed) this.#progress.heldout(await trainer.evaluate());

    this.#trained = true;
    let last: StepLog | EvalLog | undefined;
    show("pause", true);
    try {
      for await (const line of trainer.train(undefined, { policy, on_event, signal })) {
        last = line;
        this.#progress.line(line);
      }
      this.#follower.finished(order);
    } catch (thrown) {
      if (!isCancelled(thrown)) throw thrown;
    } finally {
      for (const id of ["pause", "continue"]) show(id, false);
      this.#progress.stopCounting();
    }
    if (has_heldout && last && !("eval_loss" in last)) this.#progress.heldout(await trainer.evaluate());
    const steps = count(last?.step ?? trainer.plan!.resumed?.step ?? 0, "step");
    write("remaining", "–");
    say(signal.aborted ? `Stopped after ${steps}.` : `Done: ${steps}.`);
    write("download-hint", "A zip file with the two files that PEFT loads.");
  }

  /** Shows a run that another tab has. Should that have ended just now, what it left is taken up here. */
  async #watch(trainer: Trainer, { rows }: Order, options: object): Promise<void> {
    show("waiting", false);
    say("Watching the run of the other tab…");
    let begun = false;
    for await (const line of trainer.train(rows.dataset, { ...options, if_running: "watch", resume_from_checkpoint: true })) {
      if (!begun && "total_steps" in line) this.#progress.begin(line.total_steps);
      begun ||= "total_steps" in line;
      if (begun) this.#progress.line(line);
    }
    say("The run of the other tab has ended.");
  }

  async #pause(): Promise<void> {
    show("pause", false);
    say("Pausing…");
    await this.#trainer?.pause();
  }

  #heard(event: RunEvent): void {
    this.#progress.event(event);
    this.#follower.event(event);
    if (event.type === "waiting") {
      say("Another tab has this run. This one waits for it.");
      show("waiting", true);
    }
    // A run of another tab is not this one's to pause.
    if (!this.#trained) return;
    if (event.type === "paused") {
      show("continue", true);
      element("continue").focus();
    }
    if (event.type === "continued") {
      show("continue", false);
      show("pause", true);
      element("pause").focus();
    }
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
    this.#dataset = undefined;
    this.#trained = false;
    this.#look.clear();
    // What is thrown away may well be broken.
    await trainer?.dispose().catch(() => undefined);
  }

  async #answer(id: string, question: string, adapter: boolean, signal: AbortSignal): Promise<void> {
    const target = element(id);
    target.classList.remove("idle");
    target.setAttribute("aria-busy", "true");
    try {
      const messages = [{ role: "user", content: question }];
      const answer = this.#trainer!.generate(messages, { adapter, max_new_tokens: LONGEST_ANSWER, signal });
      let piece;
      while (!(piece = await answer.next()).done) target.append(piece.value);
      if (piece.value.stop === "length") target.append(make("span", "hint", ` … cut off after ${count(LONGEST_ANSWER, "token")}`));
    } finally {
      target.setAttribute("aria-busy", "false");
    }
  }

  #clear(): void {
    this.#progress.clear();
    write("download-hint", "When the training is done, take the adapter with you. PEFT loads it.");
    this.#idle("answer-base", NO_ANSWER.base);
    this.#idle("answer-tuned", NO_ANSWER.tuned);
  }

  #idle(id: string, text: string): void {
    write(id, text);
    element(id).classList.add("idle");
  }
}

/** The settings of the run for these rows: only chats have answers to be learnt alone, and rows held out are enough. */
function trainConfig({ config, rows }: Order): Config["train"] {
  const assistant_only_loss = rows.is_chat && (config.train.assistant_only_loss ?? true);
  return { ...config.train, assistant_only_loss, ...(rows.heldout && { test_size: 0 }) };
}
