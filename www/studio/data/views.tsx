import { render } from "preact";
import { element } from "../ui/dom.js";
import { Browse } from "./browse.js";
import type { Browsing } from "./browsing.js";
import type { Cells } from "./clipboard.js";
import { ColumnsTable } from "./columns-table.js";
import { Grid } from "./grid.js";
import { MendingList } from "./mending-list.js";
import type { OwnRows } from "./own.js";
import type { TypedRows } from "./typed.js";

/** What the parts of the place that change under a person's hands show. */
export interface Views {
  own: OwnRows;
  typed: TypedRows;
  browsing: Browsing;
  onWide(table: Cells): void;
  doing(work: () => Promise<void>): void;
}

/** Draws these parts, which follow what they show from then on. */
export function drawViews({ own, typed, browsing, onWide, doing }: Views): void {
  render(<Grid typed={typed} onWide={onWide} />, element("typed-grid"));
  render(<ColumnsTable own={own} />, element("columns"));
  render(<MendingList mending={own.mending} onMended={() => own.mended()} onLeaveOutAll={() => own.leaveOutAll()} />, element("bad-rows"));
  render(<Browse browsing={browsing} doing={doing} />, element("browse"));
}
