import { element, write } from "../ui/dom.js";
import type { Question } from "../work/question.js";
import { streamInto, type Answer } from "../work/streaming.js";

const NO_ANSWER = { base: "The model as it came.", tuned: "The model with what it learnt, once that is trained or opened." };

/** How many characters of an instruction are shown. */
const SHOWN_INSTRUCTION = 120;

/** One that answers. */
export interface Side {
  /** Readies it, before it is asked. */
  before(): Promise<void>;
  answer(question: Question): Answer;
}

/** Where what two sides say is written. */
const PLACES = ["answer-base", "answer-tuned"] as const;

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

  /** Asks one side after the other. A second one that there is not yet is told of. */
  async ask(sides: Side[]): Promise<void> {
    const text = this.#field.value.trim();
    if (!text) return;
    const question = { ...this.#manner, text };
    for (const id of PLACES) write(id, "");
    for (const [index, id] of PLACES.entries()) {
      const side = sides[index];
      await side?.before();
      if (side) await this.#show(id, side.answer(question));
      else this.#rest(id, NO_ANSWER.tuned);
    }
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
