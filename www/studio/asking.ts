import { element, write } from "./dom.js";
import type { Question } from "./question.js";
import { streamInto, type Answer } from "./streaming.js";

const NO_ANSWER = { base: "The model as it came.", tuned: "The model with what it learnt, once that is trained or opened." };

/** How many characters of an instruction are shown. */
const SHOWN_INSTRUCTION = 120;

/** Answers with or without the adapter. */
export type Answering = (question: Question, adapter: boolean) => Answer;

/** The card that asks: one question, and the answers before and after. */
export class Asking {
  readonly #field = element<HTMLInputElement>("question");
  /** What comes with the question, as with the rows that were learnt. */
  #manner: Omit<Question, "text"> = { system: null, continues: false };
  /** Whether the person wrote a question of their own. */
  #is_own = false;

  constructor() {
    this.#field.addEventListener("input", () => (this.#is_own = true));
    this.idle();
  }

  /** Asks as the rows do, and what the first of them does unless the person wrote something. */
  follow(question: Question | null): void {
    if (!question) return;
    this.#manner = question;
    if (!this.#is_own) this.#field.value = question.text;
    const { system, continues } = question;
    const shown = system && system.length > SHOWN_INSTRUCTION ? `${system.slice(0, SHOWN_INSTRUCTION)}…` : system;
    const words = continues ? "The model goes on with this text, as the rows are plain text." : "";
    write("ask-hint", shown ? `Asked with the instruction of your rows: “${shown}”` : words);
  }

  /** What the rows that were learnt are asked with; null where there is no instruction. */
  get system(): string | null {
    return this.#manner.system;
  }

  /** Takes the answers away. */
  idle(): void {
    this.#rest("answer-base", NO_ANSWER.base);
    this.#rest("answer-tuned", NO_ANSWER.tuned);
  }

  /** Asks the base model and, where there is an adapter, the tuned model. */
  async ask(answer: Answering, has_adapter: boolean): Promise<void> {
    const text = this.#field.value.trim();
    if (!text) return;
    const question = { ...this.#manner, text };
    for (const id of ["answer-base", "answer-tuned"]) write(id, "");
    await this.#show("answer-base", answer(question, false));
    if (has_adapter) await this.#show("answer-tuned", answer(question, true));
    else this.#rest("answer-tuned", NO_ANSWER.tuned);
  }

  async #show(id: string, answer: Answer): Promise<void> {
    const target = element(id);
    target.classList.remove("idle");
    await streamInto(target, answer);
  }

  #rest(id: string, text: string): void {
    write(id, text);
    element(id).classList.add("idle");
  }
}
