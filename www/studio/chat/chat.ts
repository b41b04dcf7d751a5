import type { GenerateOptions, Message } from "tabtune";
import { AnswerPair, type Place } from "./answer-pair.js";
import { element, make, show } from "../ui/dom.js";
import type { Job } from "../work/job.js";
import type { Picked } from "./picked.js";
import { isSameRow, pairRow, ratingRow, type PairRow } from "./preference-rows.js";
import { systemTurn } from "../work/question.js";
import { shuffled } from "../ui/shuffle.js";
import { streamInto } from "../work/streaming.js";
import { Turn, type Judging } from "./turn.js";

/** The parts of the page that the chat has to do with. */
export interface ChatPage {
  job(): Job;
  /** What stands before a new chat. */
  system(): string | null;
  /** Loads the model where none is there, and does the work with it. Resolves to whether it was done. */
  answering(work: (signal: AbortSignal) => Promise<void>): Promise<boolean>;
  /** Does work that needs no model. Resolves to whether it was done. */
  working(work: () => Promise<void>): Promise<boolean>;
}

/** How an answer is made. Left out, what was learnt takes part, and the likeliest words are taken. */
export type Manner = Pick<GenerateOptions, "adapter" | "temperature" | "seed">;

/** By what two answers differ: one keeps to what is likely and the other strays, or one is from before anything was learnt. */
export function twoManners(by: string, has_learnt: boolean, seed: () => number = anySeed): [Manner, Manner] {
  if (by === "learnt" && has_learnt) {
    return [
      { adapter: false, temperature: 0.3, seed: seed() },
      { adapter: true, temperature: 0.3, seed: seed() },
    ];
  }
  return [
    { temperature: 0.3, seed: seed() },
    { temperature: 1, seed: seed() },
  ];
}

const SAME = "Both answers are the same, so there is nothing to pick. Edit it, or ask for something that can be said in many ways, such as a story.";

/** A chat in which the person picks, rates and edits answers, from which the model can learn. */
export class Chat implements Judging {
  readonly #page: ChatPage;
  readonly #picked: Picked;
  readonly #log = element("chat-log");
  readonly #field = element<HTMLInputElement>("message");
  readonly #two = element<HTMLInputElement>("two-answers");
  readonly #by = element<HTMLSelectElement>("two-by");
  #turns: Turn[] = [];
  /** Two answers to the last question, of which none is picked yet. */
  #pair: AnswerPair | undefined;
  #system: string | null = null;
  #has_chat_template = true;
  #has_learnt = false;

  constructor(page: ChatPage, picked: Picked) {
    this.#page = page;
    this.#picked = picked;
    element("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    element("new-chat").addEventListener("click", () => {
      this.#clear();
      this.#field.focus();
    });
    element("undo-pick").addEventListener("click", () => void this.#undo());
    this.#two.addEventListener("change", () => this.#show());
    this.#show();
  }

  /** Whether something was learnt, so that there is a before and an after. */
  offer(has_learnt: boolean): void {
    this.#has_learnt = has_learnt;
    this.#show();
  }

  rate(turn: Turn, is_good: boolean): void {
    const row = ratingRow(this.#before(turn), turn.content, is_good, this.#has_chat_template);
    void this.#page.working(async () => {
      const { ratings } = this.#picked;
      const before = turn.rating;
      if (before) await ratings.takeOut(before);
      turn.rating = undefined;
      // What is said once more is taken back.
      if (before?.label !== is_good) {
        await ratings.add(row);
        turn.rating = row;
      }
      this.#offer();
      await this.#picked.refresh();
    });
  }

  edit(turn: Turn, text: string): void {
    const original = turn.content;
    const row = pairRow(this.#before(turn), text, original, this.#has_chat_template);
    void this.#keep(row, () => {
      turn.origins.push({ row, texts: [original] });
      turn.write(text);
    });
  }

  async #send(): Promise<void> {
    const text = this.#field.value.trim();
    if (!text) return;
    // Going on without a pick is to pick neither.
    if (this.#pair) this.#takeBack();
    let is_asked = false;
    const done = await this.#page.answering(async (signal) => {
      if (this.#turns.length === 0) this.#system = this.#page.system();
      this.#has_chat_template = this.#page.job().has_chat_template;
      this.#field.value = "";
      is_asked = true;
      this.#add(new Turn("user", text));
      if (this.#two.checked) await this.#answerTwice(signal);
      else await this.#answer(signal);
    });
    if (!done && is_asked) {
      this.#takeBack();
      this.#field.value ||= text;
    }
    this.#offer();
  }

  async #answer(signal: AbortSignal): Promise<void> {
    const turn = new Turn("assistant", "");
    const prompt = this.#before();
    this.#append(turn.element);
    try {
      turn.content = await this.#stream(turn.place, {}, prompt, signal);
    } catch (thrown) {
      turn.element.remove();
      throw thrown;
    }
    this.#turns.push(turn);
  }

  /** The order in which they are asked and shown is one of chance, so that it tells nothing. */
  async #answerTwice(signal: AbortSignal): Promise<void> {
    const pair = (this.#pair = new AnswerPair());
    this.#append(pair.element);
    const texts: string[] = [];
    for (const [index, manner] of shuffled(twoManners(this.#by.value, this.#has_learnt)).entries()) {
      texts.push(await this.#stream(pair.places[index]!, manner, this.#before(), signal));
    }
    if (texts[0] === texts[1]) {
      this.#dropPair();
      const turn = new Turn("assistant", texts[0]!);
      this.#add(turn);
      turn.element.append(make("p", "hint", SAME));
    } else this.#offerPick(texts);
  }

  #offerPick(texts: string[]): void {
    this.#pair!.offer("Neither", (pick) => (pick === undefined ? this.#pickNeither() : void this.#pick(texts, pick)));
    this.#scroll();
  }

  async #pick(texts: string[], pick: NonNullable<Place>): Promise<void> {
    const chosen = texts[pick]!;
    const row = pairRow(this.#before(), chosen, texts[1 - pick]!, this.#has_chat_template);
    await this.#keep(row, () => {
      this.#dropPair();
      const turn = new Turn("assistant", chosen);
      turn.origins.push({ row, texts });
      this.#add(turn);
    });
  }

  /** Nothing is kept of it, and the question can be asked again or in other words. */
  #pickNeither(): void {
    const question = this.#turns.at(-1)!.content;
    this.#takeBack();
    this.#field.value ||= question;
    this.#offer();
    this.#field.focus();
  }

  /** Keeps a pair, and then shows what comes of it. */
  async #keep(row: PairRow, then: () => void): Promise<void> {
    const done = await this.#page.working(async () => {
      await this.#picked.pairs.add(row);
      then();
      this.#offer();
      await this.#picked.refresh();
    });
    if (done) this.#field.focus();
  }

  /** Takes the last pair back. Where the chat went on from it just now, it can be picked from once more. */
  async #undo(): Promise<void> {
    await this.#page.working(async () => {
      const taken = await this.#picked.pairs.takeOut();
      const last = this.#turns.at(-1);
      const origin = last?.origins.at(-1);
      if (taken && !this.#pair && last && origin && isSameRow(origin.row, taken)) this.#reopen(last);
      await this.#picked.refresh();
    });
    if (element("undo-pick").hidden) this.#field.focus();
  }

  #reopen(turn: Turn): void {
    const { texts } = turn.origins.pop()!;
    if (texts.length === 1) turn.write(texts[0]!);
    else {
      this.#drop(turn);
      this.#pair = new AnswerPair();
      texts.forEach((text, index) => (this.#pair!.places[index]!.textContent = text));
      this.#append(this.#pair.element);
      this.#offerPick(texts);
    }
    this.#offer();
  }

  /** What is said before that turn, or so far. */
  #before(turn?: Turn): Message[] {
    const end = turn ? this.#turns.indexOf(turn) : this.#turns.length;
    const said = this.#turns.slice(0, end).map(({ role, content }) => ({ role, content }));
    return [...systemTurn(this.#system), ...said];
  }

  #stream(place: HTMLElement, manner: Manner, prompt: Message[], signal: AbortSignal): Promise<string> {
    return streamInto(place, this.#page.job().answer(prompt, manner, signal));
  }

  #add(turn: Turn): void {
    this.#turns.push(turn);
    this.#append(turn.element);
  }

  #drop(turn: Turn): void {
    this.#turns = this.#turns.filter((other) => other !== turn);
    turn.element.remove();
  }

  #dropPair(): void {
    this.#pair?.element.remove();
    this.#pair = undefined;
  }

  /** Takes back the question that has no answer yet. */
  #takeBack(): void {
    this.#dropPair();
    const last = this.#turns.at(-1);
    if (last?.role === "user") this.#drop(last);
  }

  #clear(): void {
    this.#dropPair();
    for (const turn of this.#turns) turn.element.remove();
    this.#turns = [];
    this.#show();
  }

  #offer(): void {
    this.#turns.forEach((turn, index) => turn.offer(this, index === this.#turns.length - 1));
    this.#show();
  }

  #append(card: HTMLElement): void {
    this.#log.append(card);
    this.#show();
    this.#scroll();
  }

  /** What was said last is in sight, without moving the page. */
  #scroll(): void {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #show(): void {
    const is_empty = this.#turns.length === 0;
    show("chat-log", !is_empty);
    show("new-chat", !is_empty);
    show("two-by", this.#two.checked && this.#has_learnt);
  }
}

/** The engine draws by a number of 32 bits. */
function anySeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}
