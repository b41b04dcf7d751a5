import { element, show } from "../ui/dom.js";
import { MissingInput } from "../ui/missing.js";
import { clearError, isCancelled, showError } from "./errors.js";

/** How work ended; "missing" is where the person has still to give something before it can begin. */
export type Outcome = "done" | "stopped" | "missing" | "failed";

/** What the page shows of a piece of work. */
export interface Task {
  /** The buttons that begin and end it; they take one another's place while it runs. */
  begin?: string;
  stop?: string;
  /** Told when it was asked to stop, and how it ended. */
  stopping?(): void;
  ended?(how: Outcome): void;
  /** What a failure means for what was done so far. */
  meaning?(): string;
}

/**
 * Lets the page do one thing at a time. Meanwhile the controls marked `data-idle` and `data-still` wait, and
 * leaving the page is asked about where work could be stopped and so is worth something.
 */
export class Busy {
  #running = false;
  #task: Task | undefined;
  #stop: (() => void) | undefined;
  #begun_at: Element | null = null;
  readonly #on_change: () => void;

  /** `on_change` is told when work begins and ends. */
  constructor(on_change: () => void) {
    this.#on_change = on_change;
  }

  get running(): boolean {
    return this.#running;
  }

  /** The work that runs. */
  get task(): Task | undefined {
    return this.#task;
  }

  /** Where the keyboard was when work was last begun. */
  get begun_at(): Element | null {
    return this.#begun_at;
  }

  /** Asks the work that runs to end. */
  stop(): void {
    this.#stop?.();
  }

  /** Does the work, unless other work is running. Errors become readable text. Resolves to whether it was done. */
  async run(work: (signal: AbortSignal) => Promise<void>, task: Task = {}): Promise<boolean> {
    if (this.#running) return false;
    const controller = new AbortController();
    const stop = () => {
      task.stopping?.();
      controller.abort();
    };
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    const swap = (is_running: boolean) => {
      if (task.begin) show(task.begin, !is_running);
      if (task.stop) show(task.stop, is_running);
    };
    if (task.stop) {
      element(task.stop).addEventListener("click", stop);
      addEventListener("beforeunload", warn);
    }
    this.#task = task;
    this.#stop = stop;
    clearError();
    const focused = (this.#begun_at = document.activeElement);
    this.#set(true);
    swap(true);
    if (task.stop && isLost(focused)) focus(element(task.stop));
    let how: Outcome = "done";
    try {
      await work(controller.signal);
    } catch (thrown) {
      how = outcomeOf(thrown);
      if (how === "missing") showError(thrown);
      if (how === "failed") showError(thrown, task.meaning?.());
    }
    if (task.stop) element(task.stop).removeEventListener("click", stop);
    removeEventListener("beforeunload", warn);
    const focused_last = document.activeElement;
    swap(false);
    task.ended?.(how);
    this.#task = this.#stop = undefined;
    this.#set(false);
    if (isLost(focused_last) && !isLost(focused)) focus(focused as HTMLElement);
    return how === "done";
  }

  /** Lets controls wait or not, as things stand; those marked `data-blocked` wait for the person. */
  update(): void {
    for (const control of document.querySelectorAll<HTMLButtonElement>("[data-idle]")) {
      control.disabled = this.#running || control.dataset.blocked !== undefined;
    }
    for (const part of document.querySelectorAll<HTMLFieldSetElement>("[data-still]")) part.disabled = this.#running;
  }

  #set(running: boolean): void {
    this.#running = running;
    this.update();
    this.#on_change();
  }
}

/** Lets a control wait for the person, or not any more, from the next {@link Busy.update} on. */
export function block(id: string, is_blocked: boolean): void {
  element(id).toggleAttribute("data-blocked", is_blocked);
}

function outcomeOf(thrown: unknown): Outcome {
  if (isCancelled(thrown)) return "stopped";
  return thrown instanceof MissingInput ? "missing" : "failed";
}

/** Whether the keyboard is nowhere: at the page as a whole, or at what cannot be used now. */
function isLost(focused: Element | null): boolean {
  return !focused || focused === document.body || focused.matches(":disabled") || !focused.checkVisibility();
}

/** Where the keyboard is must not move what the eye looks at. */
function focus(control: HTMLElement): void {
  control.focus({ preventScroll: true });
}
