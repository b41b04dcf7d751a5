import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { RowsAsSeen } from "./as-seen.js";
import { emptyIn, type Cell, type Column } from "./cells.js";
import type { OwnRows } from "./own.js";
import { columnName, ROLES, type Role } from "./roles.js";

/** Rows of the file that are shown beside what becomes of them. */
const ROWS = 6;

/** From this width on there is room for a table; below, each column is a card. */
const WIDE = "(min-width: 48rem)";

/** The first rows of a file, in whose header a person says what each column is, and beside them what becomes of them. */
export function ColumnsTable({ own }: { own: OwnRows }) {
  const box = useRef<HTMLDivElement>(null);
  const is_wide = useMedia(WIDE);
  useSignalEffect(() => {
    if (own.asks.value > 0) requestAnimationFrame(() => box.current?.querySelector("select")?.focus());
  });
  const looked = own.looked.value;
  if (!looked) return null;
  const { columns, inspection, roles, unsaid } = looked;
  const select = (column: Column) => <RoleSelect name={column.name} role={roles[column.name]} onChange={(role) => own.setRole(column.name, role)} />;
  const left_out = inspection.columns.length - columns.length;
  return (
    <div class="mapped" ref={box}>
      {columns.length > 0 && (
        <div class="file-columns">
          <h4>As they are in the file</h4>
          {is_wide ? <AsTable columns={columns} roles={roles} select={select} /> : <AsCards columns={columns} roles={roles} select={select} />}
          {left_out > 0 && <p class="hint">{left_out.toLocaleString("en")} more columns are not shown, and not used.</p>}
        </div>
      )}
      <RowsAsSeen rows={inspection.rows} unsaid={unsaid} />
    </div>
  );
}

interface Shown {
  columns: Column[];
  roles: Readonly<Partial<Record<string, Role>>>;
  select(column: Column): preact.JSX.Element;
}

function AsTable({ columns, roles, select }: Shown) {
  const places = columns[0]!.cells.slice(0, ROWS).map((_, place) => place);
  return (
    <div class="scrolls" tabIndex={0} role="region" aria-label="The first rows of the file">
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.name} scope="col" class={roles[column.name] ? "used" : ""}>
                <span class="column-name">{columnName(column.name)}</span>
                {select(column)}
                <Empty column={column} role={roles[column.name]} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {places.map((place) => (
            <tr key={place}>
              {columns.map((column) => (
                <td key={column.name} class={roles[column.name] ? "used" : ""}>
                  <CellText cell={column.cells[place]!} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** On a small screen each column is a card, with what stands in its first rows. */
function AsCards({ columns, roles, select }: Shown) {
  return (
    <ul class="column-cards">
      {columns.map((column) => (
        <li key={column.name} class={roles[column.name] ? "used" : ""}>
          <span class="column-name">{columnName(column.name)}</span>
          {select(column)}
          <Empty column={column} role={roles[column.name]} />
          <ul>
            {column.cells.slice(0, 3).map((cell, place) => (
              <li key={place}>
                <CellText cell={cell} />
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}

function RoleSelect({ name, role, onChange }: { name: string; role: Role | undefined; onChange(role: Role | undefined): void }) {
  return (
    <select
      aria-label={`What the column ${columnName(name)} is`}
      value={role ?? ""}
      onChange={(event) => onChange((event.currentTarget.value || undefined) as Role | undefined)}
    >
      <option value="">Not used</option>
      {Object.entries(ROLES).map(([value, label]) => (
        <option key={value} value={value}>
          {label}
        </option>
      ))}
    </select>
  );
}

/** What is worth knowing of a column that is used and has cells without anything in them. */
function Empty({ column, role }: { column: Column; role: Role | undefined }) {
  const empty = emptyIn(column);
  if (role === undefined || empty === 0) return null;
  const all = column.cells.length;
  const is_needed = role !== "more" && role !== "instruction" && role !== "history";
  return <span class={is_needed ? "empty loud" : "empty hint"}>{empty === all ? `All of the first ${all} are empty` : `${empty} of the first ${all} are empty`}</span>;
}

function CellText({ cell }: { cell: Cell }) {
  if ("instead" in cell) return <i class="nothing">{cell.instead}</i>;
  return cell.text.trim() === "" ? <i class="nothing">empty</i> : <span class="cell-text">{cell.text}</span>;
}

function useMedia(query: string): boolean {
  const matches = useSignal(matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const follow = () => (matches.value = media.matches);
    media.addEventListener("change", follow);
    return () => media.removeEventListener("change", follow);
  }, [query]);
  return matches.value;
}
