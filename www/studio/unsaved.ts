import { show, write } from "./dom.js";

const warn = (event: BeforeUnloadEvent) => event.preventDefault();

/** What was learnt and is nowhere but in this tab: said loudly, and asked about before it is lost. */
export class Unsaved {
  #is_there = false;

  /** It could not be kept, for that reason. */
  tell(reason: string): void {
    this.#is_there = true;
    write("unsaved", `Only in this tab: download it before you close the tab. The browser could not keep it: ${reason}`);
    show("unsaved", true);
    addEventListener("beforeunload", warn);
  }

  /** It was downloaded, or is kept after all. */
  clear(): void {
    this.#is_there = false;
    show("unsaved", false);
    removeEventListener("beforeunload", warn);
  }

  /** Whether work may begin that takes its place. */
  mayGo(): boolean {
    if (!this.#is_there) return true;
    const is_given_up = confirm("What was learnt last is only in this tab and will be lost. Go on without downloading it?");
    if (is_given_up) this.clear();
    return is_given_up;
  }
}
