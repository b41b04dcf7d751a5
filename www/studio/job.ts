import { Dataset, Trainer, type AdapterFiles, type EvalLog, type Plan, type StepLog } from "tabtune";
import type { Chart } from "./chart.js";
import { element, write } from "./dom.js";
import { bytes, count, duration } from "./format.js";
import type { Inputs } from "./inputs.js";
import type { Config } from "./settings.js";

const NO_ANSWER = { base: "The model as it came.", tuned: "The model with your adapter, once it is trained." };

/** The one model of the page: loading, training, asking, saving, and what is shown of it. */
export class Job {
  readonly #chart: Chart;
  #trainer: Trainer | undefined;
  #trained = false;

  constructor(chart: Chart) {
    this.#chart = chart;
    this.#clear();
  }

  get loaded(): boolean {
    return this.#trainer !== undefined;
  }

  get trained(): boolean {
    return this.#trained;
  }

  /** Loads a model in place of the one before. */
  async load(model: Inputs["model"], config: Config, eval_dataset: Dataset | undefined, signal: AbortSignal): Promise<void> {
    await this.#close();
    write("status", "Loading the model…");
    this.#trainer = await Trainer.load(model, {
      quantization: config.quantization,
      lora: config.lora,
      train: config.train,
      ...(eval_dataset && { eval_dataset }),
      signal,
      progress_callback: ({ file, progress }) => {
        write("status", `Reading ${file}${progress === undefined ? "…" : ` ${progress.toFixed(0)} %`}`);
        if (progress !== undefined) this.#progress(progress);
      },
    });
    this.#progress(0);
    const { adapter } = this.#trainer;
    write("memory", bytes(this.#trainer.model.weight_bytes));
    element("memory").title = `${adapter.name || "GPU"}${adapter.is_software ? " (software)" : ""}`;
  }

  /** A whole run, until its last step or until it is stopped. */
  async train(inputs: Inputs, config: Config, signal: AbortSignal): Promise<void> {
    this.#clear();
    const dataset = await store("studio-rows", inputs.rows, inputs.rows_name);
    const heldout = inputs.heldout && (await store("studio-heldout", inputs.heldout, inputs.heldout_name));
    const train = { ...config.train, assistant_only_loss: inputs.shape === "chat" };
    await this.load(inputs.model, { ...config, train }, heldout, signal);
    const trainer = this.#trainer!;

    write("status", "Reading the rows…");
    const plan = await trainer.prepare(dataset, { signal });
    this.#showPlan(plan);
    if (heldout) this.#showHeldout(await trainer.evaluate());

    this.#trained = true;
    let last: StepLog | EvalLog | undefined;
    for await (const log of trainer.train()) {
      last = log;
      if ("eval_loss" in log) this.#showHeldout(log);
      else this.#showStep(log);
      if (signal.aborted) break;
    }
    if (heldout && last && !("eval_loss" in last)) this.#showHeldout(await trainer.evaluate());
    write("remaining", "–");
    write("status", signal.aborted ? `Stopped after ${count(last?.step ?? 0, "step")}.` : `Done: ${count(last?.step ?? 0, "step")}.`);
    write("download-hint", "A zip file with the two files that PEFT loads.");
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

  async #close(): Promise<void> {
    const trainer = this.#trainer;
    this.#trainer = undefined;
    this.#trained = false;
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
    const notes = [kept === rows ? count(rows, "row") : `${kept.toLocaleString("en")} of ${count(rows, "row")}`, count(tokens, "token"), count(plan.total_steps, "step")];
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

async function store(name: string, rows: Blob, file_name: string): Promise<Dataset> {
  const dataset = await Dataset.open(name);
  await dataset.import(rows, { file_name });
  return dataset;
}
