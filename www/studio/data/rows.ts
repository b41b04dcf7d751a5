import { make } from "../ui/dom.js";
import { sayingsOf } from "./saying.js";

/** A row as a dataset keeps it, as a card that can be read. */
export function rowCard(row: object): HTMLElement {
  const list = sayingsOf(row).map(({ who, text }) => make("div", "said", make("dt", "", who), make("dd", "", text)));
  return make("dl", "row-card", ...list);
}
