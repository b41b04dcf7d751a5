import { Component } from "preact";
import { useRef } from "preact/hooks";
import { count } from "../ui/format.js";
import { tableOf, type Cells } from "./clipboard.js";
import { GRID_KINDS, MOST_ROWS, type GridKind, type GridRow } from "./grid-rows.js";
import type { TypedRows } from "./typed.js";

interface Props {
  typed: TypedRows;
  /** A table was pasted that has more columns than the grid: it is to be said which of them are what. */
  onWide(table: Cells): void;
}

/** A table to type rows into, or to paste them. */
export function Grid({ typed, onWide }: Props) {
  const { grid } = typed;
  const box = useRef<HTMLDivElement>(null);
  const kind = grid.kind.value;
  const { columns } = GRID_KINDS[kind];
  const rows = grid.rows.value;
  const filled = grid.filled.value.length;
  const unfinished = filled - grid.finished.value.length;

  /** Puts the keyboard into a cell. */
  const focus = (row: number, column: number) => {
    box.current?.querySelectorAll("tbody tr")[row]?.querySelectorAll("textarea")[column]?.focus();
  };
  /** The same once the rows are drawn as they are now. */
  const focusDrawn = (row: number, column: number) => void requestAnimationFrame(() => focus(row, column));
  const actions: RowActions = {
    write: (key, column, text) => grid.write(key, column, text),
    remove: (key) => {
      const place = grid.rows.value.findIndex((row) => row.key === key);
      grid.remove(key);
      typed.told.value = `Row ${place + 1} is deleted.`;
      focusDrawn(Math.min(place, grid.rows.value.length - 1), 0);
    },
    next: (key, column) => {
      const place = grid.rows.value.findIndex((row) => row.key === key);
      if (column + 1 < columns.length) focus(place, column + 1);
      else focus(place + 1, 0);
    },
    paste: (key, column, table) => {
      const width = table[0]!.length;
      if (width > columns.length - column) {
        onWide(table);
        return;
      }
      const { taken, had_header } = grid.paste(key, column, table);
      const left = table.length - taken - (had_header ? 1 : 0);
      const notes = [`${count(taken, "row")} pasted.`];
      if (had_header) notes.push("The first line held names, and is left out.");
      if (left > 0) notes.push(`${count(left, "row")} more did not fit: up to ${MOST_ROWS.toLocaleString("en")} can be typed, and a file may have more.`);
      typed.told.value = notes.join(" ");
    },
  };

  return (
    <div class="grid" ref={box}>
      <fieldset class="line kinds">
        <legend>A row has</legend>
        {(Object.keys(GRID_KINDS) as GridKind[]).map((each) => (
          <label key={each} class="check">
            <input type="radio" name="grid-kind" value={each} checked={kind === each} onChange={() => (grid.kind.value = each)} /> {GRID_KINDS[each].label}
          </label>
        ))}
      </fieldset>
      <table class={`grid-table columns-${columns.length}`} aria-label="Rows to learn from">
        <thead>
          <tr>
            <th scope="col" class="row-number"><span class="unseen">Row</span></th>
            {columns.map((column) => <th key={column} scope="col">{column}</th>)}
            <th scope="col" class="tools"><span class="unseen">Delete</span></th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row, place) => (
            <Row key={row.key} row={row} place={place} kind={kind} is_last={place === rows.length - 1} actions={actions} />
          ))}
        </tbody>
      </table>
      <div class="row centred">
        <p class="hint grows" role="status" id="typed-count">
          {`${count(filled - unfinished, "row")}${unfinished > 0 ? ` · ${unfinished.toLocaleString("en")} not finished, which ${unfinished === 1 ? "is" : "are"} left out` : ""}. ${typed.told.value}`}
        </p>
        <span class="buttons">
          <button type="button" class="small" disabled={!grid.can_undo.value} onClick={() => {
            grid.undo();
            typed.told.value = "The last paste or deletion is taken back.";
          }}>
            Undo
          </button>
          <button type="button" class="small" disabled={filled === 0} onClick={() => {
            grid.removeAll();
            typed.told.value = "All rows are deleted. Undo brings them back.";
            focusDrawn(0, 0);
          }}>
            Delete all
          </button>
        </span>
      </div>
    </div>
  );
}

interface RowActions {
  write(key: number, column: number, text: string): void;
  remove(key: number): void;
  next(key: number, column: number): void;
  paste(key: number, column: number, table: Cells): void;
}

interface RowProps {
  row: GridRow;
  place: number;
  kind: GridKind;
  is_last: boolean;
  actions: RowActions;
}

/** A row is drawn anew only when it is another one, so that two thousand of them can be typed in. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate({ row, place, kind, is_last }: RowProps): boolean {
    const before = this.props;
    return row !== before.row || place !== before.place || kind !== before.kind || is_last !== before.is_last;
  }

  override render({ row, place, kind, is_last, actions }: RowProps) {
    const number = (place + 1).toLocaleString("en");
    return (
      <tr>
        <td class="row-number" aria-hidden="true">{number}</td>
        {GRID_KINDS[kind].columns.map((column, index) => (
          <td key={column}>
            <span class="cell-label" aria-hidden="true">{column}</span>
            <textarea
              rows={1}
              aria-label={`${column} ${number}`}
              placeholder={is_last && place === 0 ? EXAMPLES[kind][index] : ""}
              value={row.cells[index]}
              // A row whose actions are those of an earlier drawing does the same with them.
              onInput={(event) => actions.write(row.key, index, event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
                event.preventDefault();
                actions.next(row.key, index);
              }}
              onPaste={(event) => {
                const table = tableIn(event);
                if (!table) return;
                event.preventDefault();
                actions.paste(row.key, index, table);
              }}
            />
          </td>
        ))}
        <td class="tools">
          {!is_last && (
            <button type="button" class="small" aria-label={`Delete row ${number}`} title="Delete the row" onClick={() => actions.remove(row.key)}>
              ×
            </button>
          )}
        </td>
      </tr>
    );
  }
}

const EXAMPLES: Record<GridKind, string[]> = {
  pairs: ["When do you open?", "At nine, from Monday to Friday."],
  texts: ["A paragraph in the style that it is to learn."],
  picks: ["When do you open?", "At nine, from Monday to Friday.", "It depends."],
};

/** The table that is pasted; nothing where it is text for the one cell. */
function tableIn({ clipboardData }: ClipboardEvent): Cells | undefined {
  const table = tableOf(clipboardData?.getData("text/plain") ?? "", clipboardData?.getData("text/html") ?? "");
  return table && (table.length > 1 || table[0]!.length > 1) ? table : undefined;
}
