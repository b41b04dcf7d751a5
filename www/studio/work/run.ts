import { TabtuneError, type AdapterFiles, type BestModel, type EvalLog, type Plan, type RunEvent, type RunOptions, type StepLog, type Trainer } from "tabtune";
import { addLive, fillLive } from "../watch/live.js";
import { showSamplesOf } from "../watch/samples.js";
import { element, say, show, write } from "../ui/dom.js";
import { isCancelled } from "../shell/errors.js";
import type { Order } from "./job.js";
import type { HeldoutLosses } from "../library/learnt.js";
import type { Progress } from "../watch/progress.js";
import { trainsAll } from "../train/settings.js";
import { everySteps } from "../train/timing.js";
import { endWords, savedWords } from "../shell/words.js";

/** Where a run came to its end, or was stopped. */
export interface Ending {
  /** The last step that was made. */
  step: number;
  /** Whether that was before all of them, because held-out rows got no better. */
  is_early: boolean;
  /** What the rows told that it held out, where both was measured. */
  heldout: HeldoutLosses | undefined;
}

/** What follows a run and hears of it. */
export interface Follower {
  /** A run of these was prepared, and takes its first step or goes on. */
  begun(order: Order, plan: Plan): Promise<void>;
  event(event: RunEvent): void;
  /** A step was done. */
  stepped?(line: StepLog): void;
  /**
   * It came to its end, or was stopped, with what it has learnt. Of a run of all weights that is too large for files at
   * hand: its last checkpoint has it.
   */
  learnt(order: Order, ending: Ending, files: AdapterFiles | undefined): Promise<void>;
}

const ELSEWHERE =
  "This run began on another kind of device: a GPU or another processor. Go on with it on this one? " +
  "It learns the same; only the last digits of its losses are others than they would have been there.";
const NOTHING = "Stopped before the first step. Nothing was learnt, and nothing saved.";

/** One run of the page, and what is shown of it. */
export class LiveRun {
  readonly #trainer: Trainer;
  readonly #order: Order;
  readonly #progress: Progress;
  readonly #follower: Follower;
  #is_in_step = false;
  #saved_step: number | undefined;
  #is_early = false;
  /** What the run went back to at its end. */
  #best: BestModel | undefined;

  constructor(trainer: Trainer, order: Order, progress: Progress, follower: Follower) {
    this.#trainer = trainer;
    this.#order = order;
    this.#progress = progress;
    this.#follower = follower;
  }

  get id(): string {
    return this.#order.id;
  }

  /** Whether steps are done, so that one is to be finished when it stops. */
  get is_in_step(): boolean {
    return this.#is_in_step;
  }

  /** The last step that is saved; undefined while the run has not begun. */
  get saved_step(): number | undefined {
    return this.#saved_step;
  }

  /** Prepares and runs. Resolves to whether the trainer has something that was learnt. */
  async train(train: RunOptions, resumes: boolean, signal: AbortSignal): Promise<boolean> {
    const options = { ...train, on_event: (event: RunEvent) => this.#heard(event) };
    if (!(await this.#prepare(options, resumes, signal))) return false;
    const trainer = this.#trainer;
    const plan = trainer.plan!;
    this.#saved_step = plan.resumed?.step ?? 0;
    const { eval_steps, sample_steps } = options;
    const { id, name } = this.#order;
    const inSteps = (steps: number | undefined) => (steps === undefined ? undefined : everySteps(steps, plan.total_steps));
    this.#progress.plan(plan, { id, name }, { eval_steps: inSteps(eval_steps), sample_steps: inSteps(sample_steps) });
    if (plan.resumed && sample_steps !== undefined) fillLive(await trainer.samples());
    await this.#follower.begun(this.#order, plan);
    const before = plan.resumed
      ? plan.resumed.log.find(isOfStart)
      : plan.eval_rows > 0 && (await this.#evaluate("Measuring the held-out rows before the first step…", signal));
    const last = trainer.ended ? undefined : await this.#steps(options, signal);
    const step = last?.step ?? plan.resumed?.step ?? 0;
    write("remaining", "–");
    const after = await this.#heldoutAt(last, signal);
    if (trainer.ended || step === 0) {
      say(trainer.ended ? `The engine did not answer, so it was ended. ${savedWords(this.#saved_step ?? 0)}` : NOTHING);
      return false;
    }
    this.#progress.percent((100 * step) / plan.total_steps);
    const files = trainsAll(this.#order.config) ? undefined : await trainer.save();
    const heldout = before && after !== undefined ? { rows: before.rows, before: before.eval_loss, after } : undefined;
    const is_early = this.#is_early;
    await this.#follower.learnt(this.#order, { step, is_early, heldout }, files);
    say(endWords({ step, total_steps: plan.total_steps, is_stopped: signal.aborted, is_early, best_step: this.#best?.step }));
    return true;
  }

  /** The loss on the held-out rows of the model as the run leaves it, if there is one and nobody wants to stop. */
  async #heldoutAt(last: StepLog | EvalLog | undefined, signal: AbortSignal): Promise<number | undefined> {
    if (this.#best) {
      const { step, value } = this.#best;
      this.#progress.heldout({ step, eval_loss: value });
      return value;
    }
    if (last && "eval_loss" in last) return last.eval_loss;
    const { ended, plan } = this.#trainer;
    if (ended || signal.aborted || !plan?.eval_rows || !last) return undefined;
    return (await this.#evaluate("Measuring the held-out rows after the last step…", signal))?.eval_loss;
  }

  /** Whether this page has the run now; another tab may have it, whose run is then only shown. */
  async #prepare(options: RunOptions, resumes: boolean, signal: AbortSignal): Promise<boolean> {
    this.#progress.working("Getting ready…");
    const watch = new AbortController();
    const watches = () => watch.abort();
    element("watch").addEventListener("click", watches);
    try {
      const either = AbortSignal.any([signal, watch.signal]);
      await this.#prepareHere({ ...options, resume_from_checkpoint: resumes, if_running: "wait", signal: either });
      return true;
    } catch (thrown) {
      if (!watch.signal.aborted || !isCancelled(thrown)) throw thrown;
      await this.#watch({ ...options, signal });
      return false;
    } finally {
      element("watch").removeEventListener("click", watches);
      show("waiting", false);
    }
  }

  /** Asks whether a run that began on another kind of device is to go on here. */
  async #prepareHere(options: RunOptions): Promise<void> {
    const { dataset } = this.#order.rows;
    try {
      await this.#trainer.prepare(dataset, options);
    } catch (thrown) {
      const is_elsewhere = thrown instanceof TabtuneError && thrown.code === "bad-state" && thrown.message.includes("resume_on_other_device");
      if (!is_elsewhere) throw thrown;
      if (!confirm(ELSEWHERE)) throw new DOMException("the run stays where it began", "AbortError");
      await this.#trainer.prepare(dataset, { ...options, resume_on_other_device: true });
    }
  }

  async #steps({ policy, on_event }: RunOptions, signal: AbortSignal): Promise<StepLog | EvalLog | undefined> {
    let last: StepLog | EvalLog | undefined;
    this.#is_in_step = true;
    this.#progress.working("Training…");
    show("pause", true);
    try {
      for await (const line of this.#trainer.train(undefined, { ...(policy !== undefined && { policy }), ...(on_event && { on_event }), signal })) {
        last = line;
        this.#progress.line(line);
        if ("step_millis" in line) this.#follower.stepped?.(line);
      }
    } catch (thrown) {
      if (!isCancelled(thrown)) throw thrown;
    } finally {
      this.#is_in_step = false;
      for (const id of ["pause", "continue"]) show(id, false);
      this.#progress.stopCounting();
    }
    return last;
  }

  /** Being stopped ends the measuring alone: what was learnt is still saved. */
  async #evaluate(words: string, signal: AbortSignal): Promise<EvalLog | undefined> {
    this.#progress.working(words);
    try {
      const found = await this.#trainer.evaluate({ signal });
      this.#progress.heldout(found);
      return found;
    } catch (thrown) {
      if (!isCancelled(thrown)) throw thrown;
      return undefined;
    }
  }

  /** Shows a run that another tab has. Should that have ended just now, what it left is taken up here. */
  async #watch(options: RunOptions): Promise<void> {
    show("waiting", false);
    say("Watching the run of the other tab…");
    let begun = false;
    const lines = this.#trainer.train(this.#order.rows.dataset, { ...options, if_running: "watch", resume_from_checkpoint: true });
    for await (const line of lines) {
      if (!begun && "total_steps" in line) this.#progress.begin(line.total_steps);
      begun ||= "total_steps" in line;
      if (begun) this.#progress.line(line);
    }
    say("The run of the other tab has ended.");
  }

  #heard(event: RunEvent): void {
    this.#progress.event(event);
    this.#follower.event(event);
    if (event.sampled) {
      addLive(event.sampled);
      void showSamplesOf(this.#trainer).catch(() => undefined);
    }
    if (event.type === "checkpoint") this.#saved_step = event.step;
    if (event.type === "early-stopped") this.#is_early = true;
    if (event.type === "best-loaded") this.#best = event.best;
    if (event.type === "waiting") {
      say("Another tab has this run. This one waits for it.");
      show("waiting", true);
    }
    // A run of another tab is not this one's to pause.
    if (!this.#is_in_step) return;
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
}

/** Whether a line of a run's log tells of the model before its first step. */
function isOfStart(line: StepLog | EvalLog): line is EvalLog {
  return "eval_loss" in line && line.step === 0;
}
