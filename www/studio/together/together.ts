import { Trainer } from "tabtune";
import type { Offer, Terms } from "tabtune/federated";
import { block, type Busy, type Outcome, type Task } from "../shell/busy.js";
import { element, say, show, write } from "../ui/dom.js";
import { showError, tellUndone } from "../shell/errors.js";
import type { Job, Order } from "../work/job.js";
import { MissingInput } from "../ui/missing.js";
import type { ModelName } from "../train/model-name.js";
import type { Progress } from "../watch/progress.js";
import type { Follower } from "../work/run.js";
import type { Config } from "../train/settings.js";
import { stored } from "../ui/stored.js";
import { keyOf, type Begun } from "./begun.js";
import { TogetherRun } from "./together-run.js";
import { TogetherView } from "./together-view.js";
import { isChosen, modelNote, modelOf, type Mine } from "./together-words.js";
import { title } from "../shell/title.js";

/** The parts of the page that learning together has to do with. */
export interface TogetherPage {
  busy: Busy;
  job(): Job;
  follower: Follower;
  /** Whether work may begin that takes the place of what the page has at hand. */
  mayGo(): boolean;
  /** The model as it is chosen now, if one is. */
  chosen(): ModelName | undefined;
  choose(model: ModelName): void;
  /** What the person still has to say of their rows. */
  missing(): string | undefined;
  /** The settings as they stand, or undefined where the person was told what is wrong with them. */
  settings(): Promise<Config | undefined>;
  /** What the form says, to be learnt with these settings. */
  ordered(config: Config, signal: AbortSignal): Promise<Order>;
  /** A name for what is learnt, unlike those that are there. */
  newName(name: string): Promise<string>;
  /** Asks what stands in the field. */
  ask(): Promise<void>;
}

/** How long a button says that it has done what it does, in milliseconds. */
const DONE_MILLIS = 3000;

/**
 * The card to learn together with others. It is there where the server of this page is a federation. The page's policy lets its
 * workers talk to their own server alone, so it never joins another one.
 */
export class Together {
  /** The address of the page's folder, which is where its server's federation is. */
  readonly #base = new URL(".", document.baseURI).href;
  readonly #page: TogetherPage;
  readonly #view = new TogetherView();
  #federated: typeof import("tabtune/federated") | undefined;
  #terms: Terms | undefined;
  /** Whose run the page's trainer may still have. */
  #last = "";
  #has_joined = false;
  #is_over = false;
  #public_key = "";

  constructor(page: TogetherPage) {
    this.#page = page;
    element("together-look").addEventListener("click", () => void this.#begin());
    element("together-switch").addEventListener("click", () => page.choose(modelOf(this.#terms!)));
    element("together-anew").addEventListener("click", () => {
      if (confirm("Begin anew? What this browser still had to do in the round is given up. What is in the Library stays.")) {
        void page.busy.run(() => this.#giveUp());
      }
    });
    element("together-copy").addEventListener("click", () => void this.#copy().catch(showError));
  }

  /** Asks the page's server for its terms, and shows them. */
  async begin(): Promise<void> {
    this.#federated = await import("tabtune/federated");
    this.#terms = await this.#federated.Federation.terms(this.#base);
    this.#view.terms(this.#terms);
    show("together", true);
    this.refresh();
    this.#page.busy.update();
  }

  /** Shows what can be done, as the form and what was begun have it. */
  refresh(): void {
    const terms = this.#terms;
    if (!terms) return;
    const [chosen, missing, begun] = [this.#page.chosen(), this.#page.missing(), this.#begun];
    const is_chosen = isChosen(terms, chosen);
    write("together-model-note", modelNote(terms, chosen));
    show("together-model", is_chosen !== "yes");
    show("together-switch", is_chosen === "no" && modelOf(terms).kind !== "folder");
    write("together-look", begun ? `Go on with round ${Math.min(begun.round, terms.rounds)}` : "See what would be sent");
    show("together-anew", begun !== undefined);
    const looking = "With the rows that are chosen under Data. Looking loads the model and sends nothing.";
    const fresh = this.#is_over ? "Once its operator starts it again, you can join again." : looking;
    const rows = begun ? `With the rows “${begun.dataset}”, by which you began.` : fresh;
    write("together-rows", missing ?? rows);
    block("together-look", is_chosen === "no" || missing !== undefined);
  }

  get #key(): string {
    return keyOf(this.#base);
  }

  /** The terms as they are compared; who is on the list may change. */
  get #agreed(): string {
    return JSON.stringify({ ...this.#terms!, enrolled: null });
  }

  /** What was begun under the terms as they are now. */
  get #begun(): Begun | undefined {
    const begun = stored.get<Begun>(this.#key);
    return begun?.terms === this.#agreed ? begun : undefined;
  }

  async #begin(): Promise<void> {
    const { busy, settings, mayGo, ask, job } = this.#page;
    const config = await settings();
    if (!config || !mayGo()) return;
    this.#has_joined = false;
    const stopping = () => {
      job().stopping();
      this.#view.tell("Leaving…");
    };
    const meaning = () => (this.#has_joined ? "What was learnt so far is kept in this browser: go on with it under “Learn together”." : "");
    const task: Task = { begin: "together-begin", stop: "together-stop", stopping, ended: (how) => this.#ended(how), meaning };
    write("together-stop", "Stop");
    this.#view.prepare();
    const done = await busy.run((signal) => this.#takePart(config, signal), task);
    if (done && job().adapter) await ask();
  }

  #ended(how: Outcome): void {
    this.#view.offerOver();
    title.percent = undefined;
    if (how !== "done") element<HTMLProgressElement>("progress").value = 0;
    if (how === "failed" || how === "missing") {
      tellUndone(how);
      this.#view.stand(this.#has_joined ? "It broke off." : "You have not joined.");
    }
    if (how === "stopped") for (const tell of [say, (words: string) => this.#view.stand(words)]) tell("You have not joined, and nothing was sent.");
    this.refresh();
  }

  async #takePart(config: Config, signal: AbortSignal): Promise<void> {
    const order = await this.#order(config, signal);
    this.#last = order.id;
    await this.#page.job().learn(order, (trainer, progress) => this.#join(order, trainer, progress, signal), signal);
  }

  /** What is learnt from, with the settings of the terms. In how many bits the model is kept is the person's to say. */
  async #order({ quantization }: Config, signal: AbortSignal): Promise<Order> {
    const { lora, train, name } = this.#terms!;
    const begun = this.#begun;
    const order = await this.#page.ordered({ quantization, lora, train }, signal);
    const { rows } = order;
    if (begun && begun.dataset !== rows.dataset.name) {
      throw new MissingInput(`You began with the rows “${begun.dataset}”. Choose them under Data to go on, or begin anew with others.`);
    }
    if (!begun) await this.#giveUp();
    const { id } = begun ?? order;
    // Where terms say which rows are held out, those are.
    const heldout = train.test_size ? undefined : rows.heldout;
    return { ...order, id, name: begun?.name ?? (await this.#page.newName(name)), rows: { ...rows, heldout } };
  }

  /** Joins if the person agrees, and takes part. Resolves to whether the trainer has something that was learnt. */
  async #join(order: Order, trainer: Trainer, progress: Progress, signal: AbortSignal): Promise<boolean> {
    progress.working("Getting ready…");
    const { rows, policy } = order;
    const run = new TogetherRun({ view: this.#view, progress, follower: this.#page.follower });
    const federation = await this.#federated!.Federation.join(this.#base, {
      trainer,
      dataset: rows.dataset,
      ...(rows.heldout && { eval_dataset: rows.heldout }),
      policy,
      agree: (offer) => {
        const { dataset, eval_rows } = trainer.plan!;
        return this.#agree(offer, { name: rows.dataset.name, rows: dataset.kept, held_out: eval_rows }, signal);
      },
      on_event: (event) => run.hear(event),
      signal,
    });
    this.#has_joined = true;
    const { id, name } = order;
    const reached = (round: number) => {
      const begun: Begun = { terms: this.#agreed, id, name, dataset: rows.dataset.name, round };
      stored.set(this.#key, begun);
    };
    const { is_over, has_learnt } = await run.take(federation, trainer, order, reached);
    this.#is_over = is_over;
    if (is_over) stored.forget(this.#key);
    return has_learnt;
  }

  /** Shows what would be sent, and waits for the person. */
  async #agree(offer: Offer, mine: Mine, signal: AbortSignal): Promise<boolean> {
    this.#public_key = offer.public_key;
    this.#view.offer(offer, mine);
    show("together-stop", false);
    say("Joining waits for you: see under “Learn together”.");
    const decided = new AbortController();
    const either = AbortSignal.any([signal, decided.signal]);
    const is_agreed = await new Promise<boolean>((resolve) => {
      element("together-join").addEventListener("click", () => resolve(true), { signal: either });
      element("together-decline").addEventListener("click", () => resolve(false), { signal: either });
      signal.addEventListener("abort", () => resolve(false), { signal: decided.signal });
    });
    decided.abort();
    this.#view.offerOver();
    write("together-stop", "Leave");
    show("together-stop", is_agreed);
    if (is_agreed) say("Joining…");
    return is_agreed;
  }

  /** Gives up what was begun, so that rounds begin anew, with other rows if need be. */
  async #giveUp(): Promise<void> {
    await this.#page.job().letGo(this.#last);
    // What cannot be deleted belongs to another tab, which joining then tells.
    await Trainer.forget(this.#federated!.runName(this.#base)).catch(() => undefined);
    stored.forget(this.#key);
    this.refresh();
  }

  async #copy(): Promise<void> {
    await navigator.clipboard.writeText(this.#public_key);
    write("together-copy", "Copied");
    setTimeout(() => write("together-copy", "Copy the key"), DONE_MILLIS);
  }
}
