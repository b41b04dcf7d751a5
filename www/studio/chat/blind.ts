import { Dataset, type Message } from "tabtune";
import { AnswerPair, type Place } from "./answer-pair.js";
import { MOST, promptsIn, promptsNotLearnt } from "./blind-prompts.js";
import { element, make, show, write } from "../ui/dom.js";
import { showError } from "../shell/errors.js";
import type { Learnt } from "../library/learnt.js";
import { systemTurn } from "../work/question.js";
import { shuffled } from "../ui/shuffle.js";
import { wholeOf, type Answer } from "../work/streaming.js";
import { verdictWords, winRate } from "./verdict.js";

/** What the test asks of the page. */
export interface BlindPage {
  /** Does work with the model. Resolves to whether it was done. */
  answering(work: (signal: AbortSignal) => Promise<void>): Promise<boolean>;
  /** Answers with or without what was learnt. */
  answer(turns: Message[], adapter: boolean, signal: AbortSignal): Answer;
  /** What stands before each question. */
  system(): string | null;
  /** The pairs that the person picked from. */
  picked(): Promise<Dataset>;
  /** The rows that were learnt, where they are known. */
  learntRows(): Promise<Learnt["rows"]>;
}

type Side = "before" | "after";

/** A question with its two answers, and what the person said of them. */
interface Trial {
  prompt: string;
  answers: Record<Side, string>;
  /** In which order they are shown. */
  order: Side[];
  picked?: Side | "neither";
}

const PICKED: Record<NonNullable<Trial["picked"]>, string> = { before: "before", after: "after", neither: "no difference" };

/** The card that compares answers from before and after, without saying which is which. */
export class BlindTest {
  readonly #page: BlindPage;
  readonly #field = element<HTMLTextAreaElement>("blind-prompts");
  #trials: Trial[] = [];
  /** What the page has at hand that was learnt. */
  #open: string | undefined;

  constructor(page: BlindPage) {
    this.#page = page;
    element("blind-begin").addEventListener("click", () => void this.#begin());
    element("blind-take").addEventListener("click", () => void this.#takePrompts().catch(showError));
    element("blind-again").addEventListener("click", () => {
      this.#turnTo("blind-questions");
      this.#field.focus();
    });
  }

  /** Tests what is open now; nothing where nothing was learnt. */
  offer(open: string | undefined): void {
    show("blind-card", open !== undefined);
    if (open === this.#open) return;
    this.#open = open;
    write("blind-note", "");
    this.#turnTo("blind-questions");
  }

  async #takePrompts(): Promise<void> {
    const found = await promptsNotLearnt(await this.#page.picked(), await this.#page.learntRows(), Dataset.open);
    const none = "None of your picks was left out of what was learnt. Pick some more in the chat, or write some questions.";
    write("blind-note", found.length > 0 ? "" : none);
    if (found.length > 0) this.#field.value = found.join("\n");
  }

  /** All answers are made first, so that how long one takes tells nothing. What was answered counts where it is stopped. */
  async #begin(): Promise<void> {
    const prompts = promptsIn(this.#field.value);
    if (prompts.length === 0) {
      write("blind-note", `Write up to ${MOST} questions first, one a line.`);
      return this.#field.focus();
    }
    const trials: Trial[] = [];
    await this.#page.answering(async (signal) => {
      for (const [index, prompt] of prompts.entries()) {
        write("blind-note", `Answering ${index + 1} of ${prompts.length}…`);
        const turns = [...systemTurn(this.#page.system()), { role: "user", content: prompt }];
        const before = await wholeOf(this.#page.answer(turns, false, signal));
        const after = await wholeOf(this.#page.answer(turns, true, signal));
        trials.push({ prompt, answers: { before, after }, order: shuffled(["before", "after"]), ...(before === after && { picked: "neither" }) });
      }
    });
    write("blind-note", "");
    this.#trials = trials;
    if (trials.length > 0) this.#next();
  }

  /** Shows the next question that waits for the person, or what came of all. */
  #next(): void {
    const trial = this.#trials.find(({ picked }) => picked === undefined);
    if (!trial) return this.#tell();
    const pair = new AnswerPair();
    trial.order.forEach((side, index) => (pair.places[index]!.textContent = trial.answers[side]));
    pair.offer("No difference", (pick: Place) => {
      trial.picked = pick === undefined ? "neither" : trial.order[pick]!;
      this.#next();
    });
    write("blind-count", `Question ${this.#trials.indexOf(trial) + 1} of ${this.#trials.length}`);
    write("blind-question", trial.prompt);
    element("blind-pair").replaceChildren(pair.element);
    this.#turnTo("blind-judging");
    element("blind-question").focus();
  }

  #tell(): void {
    const often = (what: Trial["picked"]) => this.#trials.filter(({ picked }) => picked === what).length;
    const comparison = { wins: often("after"), losses: often("before"), ties: often("neither") };
    const { verdict, counted } = verdictWords(comparison);
    write("blind-verdict", verdict);
    write("blind-counted", counted);
    const { value, low, high } = winRate(comparison);
    const has_winners = !Number.isNaN(value);
    show("blind-interval", has_winners);
    for (const [id, from, to] of [["blind-range", low, high], ["blind-rate", value, value]] as const) {
      Object.assign(element(id).style, has_winners && { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
    }
    const items = this.#trials.map(({ prompt, picked }) => make("li", "", prompt, make("span", "soft", ` ${PICKED[picked!]}`)));
    element("blind-list").replaceChildren(...items);
    this.#turnTo("blind-result");
    element("blind-verdict").focus();
  }

  #turnTo(part: "blind-questions" | "blind-judging" | "blind-result"): void {
    for (const id of ["blind-questions", "blind-judging", "blind-result"]) show(id, id === part);
  }
}
