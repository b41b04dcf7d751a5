import { useState } from "preact/hooks";
import { sayingsOf } from "./saying.js";

/** Rows that are shown at first, and at most. */
const FEW = 3;
const ALL = 20;

/** A row as the model will see it: who says what, as in a chat. */
export function SeenAsChat({ row }: { row: object }) {
  return (
    <article class="row-card">
      {sayingsOf(row).map(({ who, side, text }, index) => (
        <div key={index} class={`bubble ${side}`}>
          <h5>{who}</h5>
          <p>{text === "" ? <i class="nothing">empty</i> : text}</p>
        </div>
      ))}
    </article>
  );
}

/** The first rows as the model will see them. */
export function RowsAsSeen({ rows, unsaid }: { rows: readonly object[]; unsaid: string | undefined }) {
  const [most, setMost] = useState(FEW);
  return (
    <div class="as-seen">
      <h4>As the model will see them</h4>
      <div id="first-rows" class="row-cards">
        {rows.slice(0, most).map((row, index) => <SeenAsChat key={index} row={row} />)}
        {rows.length === 0 && <p class="hint">{unsaid === undefined ? "There is no row that can be used yet." : "They are shown here as soon as it is said which column is what."}</p>}
      </div>
      {rows.length > most && (
        <button type="button" id="more-rows" class="small" onClick={() => setMost(ALL)}>
          Show more rows
        </button>
      )}
    </div>
  );
}
