import type { BadRow } from "tabtune";
import { element, make, show } from "../ui/dom.js";

/** Lists rows that cannot be used in the part of that id, which goes away where there are none. */
export function showBadRows(id: string, rows: BadRow[]): void {
  show(id, rows.length > 0);
  const lines = rows.map(({ file, unit, place, reason }) =>
    make("li", "", make("b", "", `${file}, ${unit} ${place}`), ` ${reason}`),
  );
  element(id).querySelector("ul")!.replaceChildren(...lines);
}
