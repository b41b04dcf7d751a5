import { make } from "../ui/dom.js";
import type { Line } from "./shelf-words.js";

/** A card as a list of terms. What it says came from outside, so it is put in as text alone. */
export function cardView(lines: Line[]): HTMLElement {
  const list = make("dl", "adapter-card");
  for (const [about, told] of lines) {
    const shown = make("dd", "");
    shown.textContent = told;
    list.append(make("div", "", make("dt", "", about), shown));
  }
  return list;
}
