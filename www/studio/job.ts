import { TabtuneError, Trainer, type AdapterFiles, type EvalLog, type Plan, type StepLog } from "tabtune";
import type { Chart } from "./chart.js";
import type { Rows } from "./data.js";
import { element, write } from "./dom.js";
import { isCancelled } from "./errors.js";
import { bytes, count, duration } from "./format.js";
import { LoadingWords } from "./loading.js";
import type { Look } from "./look.js";
import type { Model } from "./model.js";
import type { Config } from "./settings.js";

const NO_ANSWER = { base: "The model as it came.", tuned: "The model with your adapter, once it is trained." };

/** The one model of the page: loading, looking, training, asking, saving, and what is shown of it. */
export class Job {
  readonly #chart: Chart;
  readonly #look: Look;
  #trainer: Trainer | undefined;
  /** What the trainer was loaded for. One that failed is not used again. */
  #loaded: { source: Model["source"]; how: string } | undefined;
  #trained = false;

  constructor(chart: Chart, look: Look) {
    this.#chart = chart;
    this.#look = look;
    this.#clear();
  }

  get loaded(): boolean {
    return this.#trainer !== undefined;
  }

  get trained(): boolean {
    return this.#trained;
  }

  /** Loads a model in place of the one before, unless that is the same. */
  async load(model: Model, config: Config, heldout: Rows["heldout"], signal: AbortSignal): Promise<Trainer> {
    const { quantization, lora } = config;
    const how = JSON.stringify([model.hub, quantization, lora, heldout?.name]);
    if (this.#trainer && this.#loaded?.source === model.source && this.#loaded.how === how) return this.#trainer;
    await this.#close();
    write("status", "Loading the model…");
    const words = new LoadingWords();
    this.#trainer = await Trainer.load(model.source, {
      ...model.hub,
      quantization,
      lora,
      ...(heldout && { eval_dataset: heldout }),
      signal,
      progress_callback: (event) => {
        write("status", words.of(event));
        if (event.progress !== undefined) this.#progress(event.progress);
      },
    });
    this.#loaded = { source: model.source, how };
    this.#progress(0);
    const { adapter } = this.#trainer;
    write("memory", bytes(this.#trainer.model.weight_bytes));
    element("memory").title = `${adapter.name || "GPU"}${adapter.is_software ? " (software)" : ""}`;
    return this.#trainer;
  }

  /** Shows the rows as the model sees them. */
  async look(model: Model, rows: Rows, config: Config, signal: AbortSignal): Promise<void> {
    await this.#careful(async () => {
      const trainer = await this.load(model, config, rows.heldout, signal);
      await this.#look.show(trainer, rows.dataset, trainConfig(config, rows), signal);
      this.#progress(0);
    });
  }

  /** A whole run, until its last step or until it is stopped. */
  async train(model: Model, rows: Rows, config: Config, signal: AbortSignal): Promise<void> {
    this.#clear();
    await this.look(model, rows, config, signal);
    await this.#careful(() => this.#run(this.#trainer!, rows, config, signal));
  }

  /** Asks the base model and, once there is one, the tuned model. */
  async ask(question: string): Promise<void> {
    const text = question.trim();
    if (!text) return;
    for (const id of ["answer-base", "answer-tuned"]) write(id, "");
    await this.#answer("answer-base", text, false);
    if (this.#trained) await this.#answer("answer-tuned", text, true);
    else this.#idle("answer-tuned", NO_ANSWER.tuned);
    if (!this.#trained) write("status", "Ready.");
  }

  save(): Promise<AdapterFiles> {
    return this.#trainer!.save();
  }

  async #run(trainer: Trainer, rows: Rows, config: Config, signal: AbortSignal): Promise<void> {
    this.#trained = false;
    write("status", "Getting ready…");
    const plan = await trainer.prepare(rows.dataset, { ...trainConfig(config, rows), signal });
    this.#showPlan(plan);
    const before = await measured(trainer);
    if (before) {
      this.#showHeldout(before);
      element("report").append(` · ${count(before.rows, "row")} held out`);
    }

    this.#trained = true;
    let last: StepLog | EvalLog | undefined;
    for await (const log of trainer.train()) {
      last = log;
      if ("eval_loss" in log) this.#showHeldout(log);
      else this.#showStep(log);
      if (signal.aborted) break;
    }
    if (before && last && !("eval_loss" in last)) this.#showHeldout(await trainer.evaluate());
    write("remaining", "–");
    write("status", signal.aborted ? `Stopped after ${count(last?.step ?? 0, "step")}.` : `Done: ${count(last?.step ?? 0, "step")}.`);
    write("download-hint", "A zip file with the two files that PEFT loads.");
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
    this.#trained = false;
    this.#look.clear();
    await trainer?.dispose();
  }

  async #answer(id: string, question: string, adapter: boolean): Promise<void> {
    const target = element(id);
    target.classList.remove("idle");
    target.setAttribute("aria-busy", "true");
    try {
      const messages = [{ role: "user", content: question }];
      for await (const piece of this.#trainer!.generate(messages, { adapter })) target.append(piece);
    } finally {
      target.setAttribute("aria-busy", "false");
    }
  }

  #showPlan(plan: Plan): void {
    const { rows, kept, truncated, dropped, tokens } = plan.dataset;
    const used = kept === rows ? count(rows, "row") : `${kept.toLocaleString("en")} of ${count(rows, "row")}`;
    const notes = [used, count(tokens, "token"), count(plan.total_steps, "step")];
    if (truncated) notes.push(`${count(truncated, "row")} cut to the longest length`);
    if (dropped) notes.push(`${count(dropped, "row")} left out: nothing to learn in ${dropped === 1 ? "it" : "them"}`);
    write("report", notes.join(" · "));
    write("memory", bytes(plan.peak_gpu_bytes));
    write("status", "Training…");
    this.#progress(0);
    this.#chart.begin(plan.total_steps);
  }

  #showStep(log: StepLog): void {
    write("status", `Step ${log.step} of ${log.total_steps}`);
    write("loss", log.loss.toFixed(3));
    write("speed", Math.round(log.tokens_per_second).toLocaleString("en"));
    write("remaining", duration(log.remaining_seconds));
    write("memory", bytes(log.peak_gpu_bytes));
    const percent = (100 * log.step) / log.total_steps;
    this.#progress(percent);
    document.title = `${percent.toFixed(0)} % · tabtune`;
    this.#chart.addLoss(log.step, log.loss);
  }

  #showHeldout(log: EvalLog): void {
    write("heldout-loss", log.eval_loss.toFixed(3));
    this.#chart.addHeldout(log.step, log.eval_loss);
  }

  #progress(percent: number): void {
    element<HTMLProgressElement>("progress").value = percent;
  }

  #clear(): void {
    for (const id of ["loss", "heldout-loss", "speed", "remaining", "memory"]) write(id, "–");
    write("report", "");
    this.#chart.clear();
    write("download-hint", "When the training is done, take the adapter with you. PEFT loads it.");
    this.#progress(0);
    this.#idle("answer-base", NO_ANSWER.base);
    this.#idle("answer-tuned", NO_ANSWER.tuned);
  }

  #idle(id: string, text: string): void {
    write(id, text);
    element(id).classList.add("idle");
  }
}

/** The loss on the held-out rows; undefined where there are none, as a small share of a few rows may be. */
async function measured(trainer: Trainer): Promise<EvalLog | undefined> {
  try {
    return await trainer.evaluate();
  } catch (thrown) {
    if (thrown instanceof TabtuneError && thrown.code === "bad-state") return undefined;
    throw thrown;
  }
}

/** The settings of the run for these rows: of chats only the answers are learnt, and rows held out are enough. */
function trainConfig({ train }: Config, { is_chat, heldout }: Rows): Config["train"] {
  return { ...train, assistant_only_loss: is_chat, ...(heldout && { test_size: 0 }) };
}
