import type { Busy, Task } from "../shell/busy.js";
import { element, show, write } from "./dom.js";
import { codeOf, isCancelled, messageOf } from "../shell/errors.js";
import { MissingInput } from "./missing.js";
import { hintOf } from "../shell/words.js";

/** What opened the dialog that is open, or the one that led to it. */
let opener: HTMLElement | undefined;

/** A dialog over the page, which tells what goes wrong within itself: the page's own place for that lies behind it. */
export class Dialog {
  readonly #dialog: HTMLDialogElement;
  readonly #busy: Busy;
  readonly #problem: string;

  /** The dialog with that id, whose part with the id `ID-problem` tells what went wrong, and whose button `ID-close` closes it. */
  constructor(id: string, busy: Busy) {
    this.#dialog = element<HTMLDialogElement>(id);
    this.#busy = busy;
    this.#problem = `${id}-problem`;
    element(`${id}-close`).addEventListener("click", () => this.close());
    this.#dialog.addEventListener("close", returnKeyboard);
  }

  get is_open(): boolean {
    return this.#dialog.open;
  }

  open(): void {
    this.tell("");
    this.#busy.update();
    opener = [document.activeElement, this.#busy.begun_at].find(isOnPage) ?? opener;
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  close(): void {
    this.#dialog.close();
  }

  tell(problem: string): void {
    write(this.#problem, problem);
    show(this.#problem, problem !== "");
  }

  /** Does work that was begun in the dialog, unless other work is running. Closing the dialog stops it. Resolves to whether it was done. */
  async run(work: (signal: AbortSignal) => Promise<void>, task?: Task): Promise<boolean> {
    this.tell("");
    const closing = new AbortController();
    const stop = () => closing.abort();
    this.#dialog.addEventListener("close", stop);
    let done = false;
    await this.#busy.run(async (signal) => {
      try {
        await work(AbortSignal.any([signal, closing.signal]));
        done = true;
      } catch (thrown) {
        if (!isCancelled(thrown)) this.tell(problemOf(thrown));
      }
    }, task);
    this.#dialog.removeEventListener("close", stop);
    return done;
  }
}

function isOnPage(part: Element | null): part is HTMLElement {
  return part instanceof HTMLElement && part !== document.body && part.closest("dialog") === null;
}

/** The browser gives the keyboard back to what had it, but not to a button that waited while the dialog was made ready. */
function returnKeyboard(): void {
  const at = document.activeElement;
  const is_lost = !at || at === document.body || !at.checkVisibility();
  if (is_lost) opener?.focus({ preventScroll: true });
}

function problemOf(thrown: unknown): string {
  const message = messageOf(thrown);
  return thrown instanceof MissingInput ? message : `${hintOf(codeOf(thrown), message, navigator.onLine)} ${message}`;
}
