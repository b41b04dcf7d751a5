import type { AdapterFiles, Trainer } from "tabtune";
import type { Federation, FederationEvent } from "tabtune/federated";
import { say, write } from "../ui/dom.js";
import { isCancelled, showError } from "../shell/errors.js";
import type { Order } from "../work/job.js";
import type { HeldoutLosses } from "../library/learnt.js";
import type { Progress } from "../watch/progress.js";
import type { Follower } from "../work/run.js";
import type { TogetherView } from "./together-view.js";
import { togetherEnd } from "./together-words.js";

/** What shows that somebody takes part, and keeps what comes of it. */
export interface Shown {
  view: TogetherView;
  progress: Progress;
  follower: Follower;
}

/** How it came to its end. */
export interface Outcome {
  /** Whether the last round is over. */
  is_over: boolean;
  /** Whether the trainer has something that was learnt. */
  has_learnt: boolean;
}

/** One time of taking part: until the last round is over, or until the person leaves. */
export class TogetherRun {
  readonly #shown: Shown;
  /** The last step that was made, counted over all rounds. */
  #step = 0;
  /** Losses on held-out rows: before the first round, and of what all have made together. */
  #before: number | undefined;
  #together: number | undefined;

  constructor(shown: Shown) {
    this.#shown = shown;
  }

  hear(event: FederationEvent): void {
    const { view, progress, follower } = this.#shown;
    view.event(event);
    if (event.type === "run") {
      progress.event(event.event);
      follower.event(event.event);
    }
    if (event.type === "step") {
      // A server that was restarted may ask for a round once more.
      if (event.log.step <= this.#step) progress.begin(event.log.total_steps);
      this.#step = event.log.step;
      progress.line(event.log);
    }
    if (event.type === "evaluated") {
      this.#together = event.loss;
      progress.heldout({ step: this.#step, eval_loss: event.loss });
    }
    if (event.type === "sent" || event.type === "waiting") write("status", "Waiting for the others…");
  }

  /** Takes part; `reached` is told of the round that is under way or comes next. */
  async take(federation: Federation, trainer: Trainer, order: Order, reached: (round: number) => void): Promise<Outcome> {
    const { view, progress, follower } = this.#shown;
    const { offer, terms } = federation;
    const plan = trainer.plan!;
    const train = { ...order.config.train, max_steps: offer.steps * terms.rounds };
    const whole = { ...order, config: { ...order.config, train } };
    this.#step = plan.resumed?.step ?? 0;
    reached(Math.floor(this.#step / offer.steps) + 1);
    view.begin(offer);
    progress.plan(plan);
    await follower.begun(whole, plan);
    const is_over = await this.#rounds(federation, reached);
    const files = this.#step > 0 && !trainer.ended ? await trainer.save() : undefined;
    if (files) await this.#keep(whole, is_over ? plan.eval_rows : 0, files);
    // Whether the server hears of it or not, nothing more is sent.
    await federation.leave().catch(showError);
    const words = togetherEnd(files ? Math.ceil(this.#step / offer.steps) : 0, terms.rounds, is_over);
    view.stand(words);
    say(words);
    return { is_over, has_learnt: files !== undefined };
  }

  async #rounds(federation: Federation, reached: (round: number) => void): Promise<boolean> {
    try {
      for await (const round of federation.rounds()) {
        if (round.number === 1 && round.is_held_out) this.#before = round.loss_before;
        this.#shown.view.round(round);
        reached(round.number + 1);
      }
      return true;
    } catch (thrown) {
      if (!isCancelled(thrown)) throw thrown;
      return false;
    }
  }

  #keep(order: Order, heldout_rows: number, files: AdapterFiles): Promise<void> {
    const [before, after] = [this.#before, this.#together];
    const is_measured = heldout_rows > 0 && before !== undefined && after !== undefined;
    const heldout: HeldoutLosses | undefined = is_measured ? { rows: heldout_rows, before, after } : undefined;
    return this.#shown.follower.learnt(order, { step: this.#step, is_early: false, heldout }, files);
  }
}
