import type { Calls } from "../protocol.js";
import type { EvalLog, Plan, Prompt, TrainConfig } from "../types.js";
import { judged, type BestRules, type Evaluated, type Judgement } from "./best.js";
import type { Companion, CompanionHost, Page, Tell } from "./host.js";
import { everySteps } from "./samples.js";
import type { RunOutcome, SampledStep } from "./types.js";

/** The options that make a run more than its steps. */
export interface CompanionOptions {
  sample_prompts?: Prompt[] | undefined;
  sample_steps?: number | undefined;
  sample_max_new_tokens?: number | undefined;
  early_stopping_patience?: number | undefined;
  early_stopping_threshold?: number | undefined;
}

/** Checks the options that make a run more than its steps; what makes the companion of a run that was prepared with them. */
export async function accompanied(
  page: Page,
  options: CompanionOptions,
  { train = {}, run_name, resume_from_checkpoint }: Calls["prepare"]["args"],
): Promise<(plan: Plan) => RunCompanion> {
  const names = ["sample_prompts", "sample_steps", "sample_max_new_tokens", "early_stopping_patience", "early_stopping_threshold"];
  page.check("prepare", options, Object.fromEntries(names.map((name) => [name, "any"])));
  check(page, options, train, run_name);
  const kept = run_name === undefined || !resume_from_checkpoint ? [] : await page.stored("samples", { run_name });
  return (plan) => new RunCompanion(page, options, { train, run_name, plan, kept });
}

/** Throws `bad-option` for what cannot be asked of a run. */
function check({ fail }: Page, options: CompanionOptions, train: TrainConfig, run_name: string | undefined): void {
  const { sample_prompts: prompts, sample_steps, sample_max_new_tokens, early_stopping_patience, early_stopping_threshold } = options;
  const { load_best_model_at_end, metric_for_best_model, eval_steps } = train;
  const wants = (name: string, given: unknown, fits: (value: number) => boolean, what: string) => {
    if (given == null || (typeof given === "number" && fits(given))) return;
    throw fail("bad-option", `${name} is ${JSON.stringify(given)}, but must be ${what}`);
  };
  const isCount = (value: number) => Number.isInteger(value) && value >= 1;
  wants("sample_steps", sample_steps, (value) => isCount(value) || (value > 0 && value < 1), "a number of steps, or a share of them below 1");
  wants("sample_max_new_tokens", sample_max_new_tokens, isCount, "a whole number of at least 1");
  wants("early_stopping_patience", early_stopping_patience, isCount, "a whole number of at least 1");
  wants("early_stopping_threshold", early_stopping_threshold, (value) => value >= 0, "a number of at least 0");
  if (prompts != null && (!Array.isArray(prompts) || prompts.length === 0)) {
    throw fail("bad-option", "sample_prompts must be a list with at least one prompt");
  }
  const needs = (name: string, is_there: boolean, what: string) => {
    if (!is_there) throw fail("bad-option", `${name} needs ${what}`);
  };
  if (sample_steps != null) needs("sample_steps", prompts != null, "sample_prompts to be answered");
  if (early_stopping_threshold != null) needs("early_stopping_threshold", early_stopping_patience != null, "early_stopping_patience");
  if (early_stopping_patience != null) needs("early_stopping_patience", eval_steps != null, "eval_steps: there are no evaluations to wait for");
  if (load_best_model_at_end) {
    needs("load_best_model_at_end", eval_steps != null, "eval_steps: without evaluations no model is the best");
    needs("load_best_model_at_end", run_name !== undefined, "a run_name, under which the best model is kept");
  }
  if (metric_for_best_model != null && typeof metric_for_best_model !== "string") {
    throw fail("bad-option", 'metric_for_best_model must be the name of what an evaluation tells, such as "eval_loss"');
  }
}

/** How the best model is chosen, by transformers' defaults. */
function rulesOf(options: CompanionOptions, { metric_for_best_model, greater_is_better }: TrainConfig): BestRules {
  const name = metric_for_best_model ?? "loss";
  return {
    metric: name.startsWith("eval_") ? name : `eval_${name}`,
    greater_is_better: greater_is_better ?? !name.endsWith("loss"),
    patience: options.early_stopping_patience ?? undefined,
    threshold: options.early_stopping_threshold ?? 0,
  };
}

/** The run that a companion goes along with. */
interface Accompanied {
  train: TrainConfig;
  run_name: string | undefined;
  plan: Plan;
  /** Samples that were kept of it before it was taken up. */
  kept: readonly SampledStep[];
}

/** What goes along with a run: it answers prompts between steps, and knows the best evaluation and when to end. */
export class RunCompanion implements Companion {
  readonly #options: CompanionOptions;
  readonly #rules: BestRules;
  readonly #loads_best: boolean;
  readonly #every: number | undefined;
  readonly #page: Page;
  readonly #run_name: string | undefined;
  #evaluations: Evaluated[] = [];
  #sampled: SampledStep[];
  /** Whether prompts are still answered: one that fails fails each time. */
  #samples: boolean;
  outcome: RunOutcome | undefined;

  constructor(page: Page, options: CompanionOptions, { train, run_name, plan: { total_steps, resumed }, kept }: Accompanied) {
    this.#page = page;
    this.#run_name = run_name;
    this.#options = options;
    this.#rules = rulesOf(options, train);
    this.#loads_best = train.load_best_model_at_end ?? false;
    this.#every = everySteps(options.sample_steps ?? undefined, total_steps);
    this.#samples = options.sample_prompts != null;
    this.#sampled = resumed ? kept.filter(({ step }) => step <= resumed.step) : [];
    for (const line of resumed?.log ?? []) if ("eval_loss" in line) this.#note(line);
  }

  /** All samples so far. */
  get sampled(): readonly SampledStep[] {
    return this.#sampled;
  }

  waits(step: number): boolean {
    return this.#samples && this.#is_due(step);
  }

  #is_due(step: number): boolean {
    return step === 0 || (this.#every !== undefined && step % this.#every === 0);
  }

  evaluated(line: EvalLog): void {
    if (this.#note(line)) return;
    const told = Object.keys(line).filter((name) => name.startsWith("eval_"));
    throw this.#page.fail("bad-option", `metric_for_best_model is "${this.#rules.metric}", but an evaluation tells ${told.join(", ")}`);
  }

  /** Whether an evaluation tells of the metric, which is then noted. */
  #note(line: EvalLog): boolean {
    const value = (line as unknown as Record<string, unknown>)[this.#rules.metric];
    if (typeof value !== "number") return false;
    this.#evaluations.push({ step: line.step, value });
    return true;
  }

  rewound(step: number): void {
    this.#evaluations = this.#evaluations.filter((evaluation) => evaluation.step <= step);
    this.#sampled = this.#sampled.filter((sampled) => sampled.step <= step);
  }

  get stops(): boolean {
    return this.#judgement.stops;
  }

  get #judgement(): Judgement {
    return judged(this.#evaluations, this.#rules);
  }

  async between(host: CompanionHost, step: number, tell: Tell): Promise<void> {
    // The base is as it was at any time.
    await this.#sample(host, 0, tell);
    if (this.#is_due(step)) await this.#sample(host, step, tell);
  }

  async end(host: CompanionHost, step: number, tell: Tell): Promise<void> {
    await this.#sample(host, step, tell);
    const { best, failures, stops } = this.#judgement;
    const { metric } = this.#rules;
    const told = best && { ...best, metric };
    const since = best ? `, since ${best.value} after step ${best.step}` : "";
    const reason = stops ? `${metric} did not get better in ${failures} evaluations${since}` : "all steps were made";
    if (stops) tell({ type: "early-stopped", reason: "patience", detail: reason, ...(told && { best: told }) });
    let is_best_loaded = false;
    if (this.#loads_best && told) {
      const loaded = await host.ask("load_best", undefined);
      tell({ type: "best-loaded", detail: `the model is as it was after step ${loaded.step}, where ${metric} was ${loaded.metric}`, best: { step: loaded.step, metric, value: loaded.metric } });
      is_best_loaded = true;
    } else if (this.#loads_best) {
      tell({ type: "notice", reason: "no-best", detail: "no evaluation told a number, so the model stays as the last step left it" });
    }
    this.outcome = { ended: stops ? "early-stopped" : "finished", reason, step, ...(told && { best: told }), is_best_loaded };
  }

  /** Has all prompts answered, unless that was done after this step. */
  async #sample(host: CompanionHost, step: number, tell: Tell): Promise<void> {
    const { sample_prompts: prompts, sample_max_new_tokens: max_new_tokens } = this.#options;
    if (!this.#samples || !prompts || this.#sampled.some((sampled) => sampled.step === step)) return;
    try {
      const adapter = step > 0;
      if (adapter && host.active() !== "default") throw this.#page.fail("bad-state", "the run's own adapter is not the active one");
      const samples = [];
      for (const prompt of prompts) {
        const options = { adapter, max_new_tokens: max_new_tokens ?? 64, temperature: 0 };
        samples.push({ prompt, text: (await host.ask("generate", { prompt, options })).text });
      }
      const sampled = { step, samples };
      this.#sampled.push(sampled);
      tell({ type: "sampled", detail: `${samples.length} prompts after step ${step}`, sampled });
      await this.#keep().catch((thrown: unknown) => {
        tell({ type: "notice", reason: "samples-not-kept", detail: `answers to prompts could not be kept: ${String(thrown)}` });
      });
    } catch (thrown) {
      const { code, message } = thrown as { code?: string; message: string };
      if (code === "cancelled" || code === "device-lost") throw thrown;
      // A run of hours does not end for what is only looked at.
      this.#samples = false;
      tell({ type: "notice", reason: "no-samples", detail: `prompts are no longer answered: ${message}` });
    }
  }

  async #keep(): Promise<void> {
    const run_name = this.#run_name;
    if (run_name !== undefined) await this.#page.stored("keep_samples", { run_name, samples: this.#sampled });
  }
}
