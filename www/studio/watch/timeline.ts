import type { RunEvent } from "tabtune";
import { element, make, show } from "../ui/dom.js";
import { MARK_NAMES, markOf, wordsOf, type Mark } from "./happened.js";

/** Events that are listed; older ones leave. */
const MOST = 50;

/** What happened to a run beside its steps: marks on a bar of its steps, and a list, the newest first. */
export class Timeline {
  readonly #bar = element("timeline-bar");
  readonly #done = make("span", "done");
  readonly #list = element("events");
  /** What has a mark already, since one step can be saved or rest often. */
  readonly #marked = new Set<string>();
  #total = 1;
  #newest: RunEvent | undefined;

  /** Empties the timeline. */
  clear(): void {
    this.#marked.clear();
    this.#newest = undefined;
    this.#bar.replaceChildren(this.#done);
    this.#list.replaceChildren();
    element("timeline-legend").replaceChildren();
    this.reach(0);
    show("timeline", false);
  }

  /** The bar is that many steps long. Marks that are there already keep their steps. */
  begin(total: number): void {
    this.#total = total;
  }

  /** The run has come to that step. */
  reach(step: number): void {
    this.#done.style.width = this.#at(step);
  }

  add(event: RunEvent): void {
    // The first event says which signals there are, and has a place of its own in the settings.
    if (event.type === "policy") return;
    show("timeline", true);
    const item = make("li", markOf(event) ?? "", make("span", "when", timeOf(event), ` · step ${event.step}`), wordsOf(event));
    // A long rest is looked at again and again, which is one thing that happened.
    const is_same = event.type === "resting" && this.#newest?.type === "resting" && this.#newest.reason === event.reason;
    if (is_same) this.#list.firstElementChild!.replaceWith(item);
    else this.#list.prepend(item);
    this.#newest = event;
    while (this.#list.childElementCount > MOST) this.#list.lastElementChild!.remove();
    const mark = markOf(event);
    if (mark) this.#mark(mark, event);
  }

  #mark(mark: Mark, event: RunEvent): void {
    const key = `${mark} ${event.step}`;
    if (this.#marked.has(key)) return;
    this.#marked.add(key);
    const sign = make("i", mark);
    sign.style.left = this.#at(event.step);
    // What happened at the same step stands beside it.
    const beside = [...this.#marked].filter((key) => key.endsWith(` ${event.step}`)).length - 1;
    sign.style.marginLeft = `${8 * beside - 5}px`;
    sign.title = `Step ${event.step}: ${MARK_NAMES[mark]}`;
    this.#bar.append(sign);
    const marks = Object.keys(MARK_NAMES) as Mark[];
    const seen = marks.filter((name) => this.#bar.querySelector(`i.${name}`));
    element("timeline-legend").replaceChildren(...seen.map((name) => make("li", "", make("i", name), MARK_NAMES[name])));
  }

  #at(step: number): string {
    return `${Math.min(100, (100 * step) / this.#total)}%`;
  }
}

function timeOf({ time }: RunEvent): HTMLTimeElement {
  const moment = new Date(time);
  const shown = make("time", "", moment.toLocaleTimeString());
  shown.dateTime = moment.toISOString();
  return shown;
}
