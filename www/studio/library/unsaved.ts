import type { AdapterFiles } from "tabtune";
import { show, write } from "../ui/dom.js";

const warn = (event: BeforeUnloadEvent) => event.preventDefault();

/** What was learnt, and could not be kept. */
export interface Held {
  id: string;
  name: string;
  /** None where it is a whole model, which is as large as its checkpoint. */
  files: AdapterFiles | undefined;
}

/** What was learnt and is nowhere but in this tab: held here, said loudly, and asked about before it is lost. */
export class Unsaved {
  #held: Held | undefined;
  #is_downloaded = false;

  /** What is held, until other work takes its place; the engine that learnt it may have ended since. */
  get held(): Held | undefined {
    return this.#held;
  }

  /** It could not be kept, for that reason. */
  tell(reason: string, held: Held): void {
    this.#held = held;
    this.#warn(true);
    const act = held.files ? "download" : "save";
    write("unsaved", `Only in this tab: ${act} it before you close the tab. The browser could not keep it: ${reason}`);
  }

  /** It is in a file of the person's. */
  downloaded(): void {
    this.#warn(false);
  }

  /** It is kept after all, or was given up. */
  clear(): void {
    this.#held = undefined;
    this.#warn(false);
  }

  /** Whether work may begin that takes its place, which gives it up. */
  mayGo(): boolean {
    const is_safe = this.#held === undefined || this.#is_downloaded;
    if (!is_safe && !confirm("What was learnt last is only in this tab and will be lost. Go on without downloading it?")) return false;
    this.clear();
    return true;
  }

  #warn(is_loud: boolean): void {
    this.#is_downloaded = !is_loud;
    show("unsaved", is_loud);
    if (is_loud) addEventListener("beforeunload", warn);
    else removeEventListener("beforeunload", warn);
  }
}
