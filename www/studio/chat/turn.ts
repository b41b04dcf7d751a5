import type { Message } from "tabtune";
import { smallButton } from "../ui/buttons.js";
import { make } from "../ui/dom.js";
import { thumb } from "../ui/icons.js";
import type { PairRow, RatingRow } from "./preference-rows.js";

/** What the page calls who speaks. */
const SPEAKERS: Record<string, string> = { user: "You: ", assistant: "Model: " };

/** How an answer came to be the one that the chat goes on with. */
export interface Origin {
  /** The row that this is kept as. */
  row: PairRow;
  /** The two answers as they were shown, or the one that was edited. */
  texts: string[];
}

/** What can be done with an answer. */
export interface Judging {
  rate(turn: Turn, is_good: boolean): void;
  /** The person wrote it anew. */
  edit(turn: Turn, text: string): void;
}

/** A turn of the chat, and its card. */
export class Turn {
  readonly role: Message["role"];
  readonly element: HTMLElement;
  /** Where what is said is written. */
  readonly place = make("p", "answer");
  readonly #actions = make("div", "buttons");
  /** Where the person writes the answer anew. */
  #field: HTMLTextAreaElement | undefined;
  content: string;
  /** Of an answer that was picked or edited, perhaps more than once: the latest last. */
  readonly origins: Origin[] = [];
  /** What the person said of an answer, as it is kept. */
  rating: RatingRow | undefined;

  constructor(role: Message["role"], content: string) {
    this.role = role;
    this.content = content;
    this.place.textContent = content;
    this.element = make("article", `turn ${role}`, make("span", "unseen", SPEAKERS[role] ?? ""), this.place, this.#actions);
  }

  /** Says anew what is said, without what was shown beside it. */
  write(content: string): void {
    this.content = content;
    this.place.textContent = content;
  }

  /** Offers what can be done with the answer: one that was picked is rated by that, and the last one alone can be edited. */
  offer(judging: Judging, is_last: boolean): void {
    if (this.role !== "assistant") return;
    this.#leave();
    const buttons: HTMLButtonElement[] = [];
    if (this.origins.length === 0) {
      for (const [word, is_good] of [["Good answer", true], ["Bad answer", false]] as const) {
        const button = smallButton("", "", () => judging.rate(this, is_good));
        button.append(thumb(is_good));
        button.classList.add("icon");
        button.title = word;
        button.setAttribute("aria-label", word);
        button.setAttribute("aria-pressed", String(this.rating?.label === is_good));
        buttons.push(button);
      }
    }
    if (is_last) buttons.push(smallButton("Edit", "", () => this.#edit(judging)));
    this.#actions.replaceChildren(...buttons);
  }

  /** Lets the person write the answer as they would have it. */
  #edit(judging: Judging): void {
    const field = (this.#field = make("textarea", ""));
    field.value = this.content;
    field.rows = Math.min(8, 2 + Math.ceil(this.content.length / 60));
    field.setAttribute("aria-label", "The answer as you would have it");
    const cancel = () => {
      this.offer(judging, true);
      this.#actions.querySelector<HTMLElement>("button:last-child")?.focus();
    };
    const save = smallButton("Save", "the answer", () => {
      const text = field.value.trim();
      cancel();
      if (text && text !== this.content) judging.edit(this, text);
    });
    field.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") cancel();
    });
    this.place.replaceWith(field);
    this.#actions.replaceChildren(save, smallButton("Cancel", "", cancel));
    field.focus();
  }

  #leave(): void {
    this.#field?.replaceWith(this.place);
    this.#field = undefined;
  }
}
