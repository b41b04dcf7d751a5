import { element, show, write } from "../ui/dom.js";
import type { Busy } from "./busy.js";
import { onPlace, placeNow } from "./places.js";

/** A bar that tells of work whose own place is not the one that is shown, and can stop it. */
export class NowBar {
  readonly #busy: Busy;

  constructor(busy: Busy) {
    this.#busy = busy;
    element("now-stop").addEventListener("click", () => busy.stop());
    onPlace(() => this.refresh());
    const status = element("status");
    const progress = element("progress");
    // What goes on is written in its own place, and only copied here.
    const copy = new MutationObserver(() => this.#copy());
    copy.observe(status, { childList: true, characterData: true, subtree: true });
    copy.observe(progress, { attributes: true, attributeFilter: ["value"] });
  }

  /** Shows or hides it, as things stand. */
  refresh(): void {
    const place = this.#place;
    const is_shown = place?.hidden === true;
    // With the bar goes the button that had the keyboard.
    const is_lost = !is_shown && element("now").contains(document.activeElement);
    show("now", is_shown);
    if (is_lost) element(`${placeNow()}-title`).focus({ preventScroll: true });
    if (place) element<HTMLAnchorElement>("now-words").href = `#${place.dataset["place"]}`;
    this.#copy();
  }

  /** Where the button is that stops the work; undefined while there is none. */
  get #place(): HTMLElement | undefined {
    const stop = this.#busy.task?.stop;
    return stop === undefined ? undefined : (element(stop).closest<HTMLElement>("[data-place]") ?? undefined);
  }

  #copy(): void {
    write("now-words", element("status").textContent ?? "");
    const value = element("progress").getAttribute("value");
    if (value === null) element("now-progress").removeAttribute("value");
    else element("now-progress").setAttribute("value", value);
  }
}
