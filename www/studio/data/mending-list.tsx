import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { messageOf } from "../shell/errors.js";
import { count } from "../ui/format.js";
import { keyOf, reasonWords, type BadItem, type Editing, type Mending } from "./mending.js";
import { columnName } from "./roles.js";

/** How long nothing more is typed before a mended row is checked. */
const PAUSE_MILLIS = 200;

/** Rows that are listed at once. */
const MOST = 50;

interface Props {
  mending: Mending;
  /** Some were mended, or left out, or are bad again. */
  onMended(): void;
  onLeaveOutAll(): void;
}

/** The rows that cannot be used: what is wrong with each, and a place to mend it. */
export function MendingList({ mending, onMended, onLeaveOutAll }: Props) {
  const items = mending.items.value;
  if (items.length === 0) return null;
  const bad = items.filter(({ state }) => state === "bad").length;
  const sealed = mending.sealed;
  return (
    <section class="bad-rows" aria-labelledby="bad-title">
      <h4 id="bad-title" tabIndex={-1}>
        Rows that cannot be used
      </h4>
      <p class="hint" role="status">
        {bad === 0 ? "All that are known are mended or left out." : `${count(bad, "row")} to mend or to leave out${mending.has_more.value ? ", and perhaps more behind them" : ""}.`}
      </p>
      {sealed !== undefined && <p class="hint">{sealed}</p>}
      <ul>
        {items.slice(0, MOST).map((item) => (
          <Item key={keyOf(item.row)} item={item} mending={mending} sealed={sealed !== undefined} onMended={onMended} />
        ))}
      </ul>
      {bad > 0 && (
        <button type="button" class="small" onClick={onLeaveOutAll}>
          Leave all of them out
        </button>
      )}
    </section>
  );
}

function Item({ item, mending, sealed, onMended }: { item: BadItem; mending: Mending; sealed: boolean; onMended(): void }) {
  const editing = useSignal<Editing | undefined>(undefined);
  const problem = useSignal("");
  const first = useRef<HTMLButtonElement>(null);
  const { file, unit, place, reason } = item.row;
  const words = `${file}, ${unit} ${place.toLocaleString("en")}`;
  /** Does something with the row, and tells beside it what goes wrong. */
  const trying = async (work: () => Promise<void>) => {
    problem.value = "";
    try {
      await work();
    } catch (thrown) {
      problem.value = messageOf(thrown);
    }
  };
  const done = () => {
    editing.value = undefined;
    onMended();
    document.getElementById("bad-title")?.focus({ preventScroll: true });
  };
  return (
    <li class={item.state === "bad" ? "" : "done"}>
      <p>
        <b>{words}</b> {item.state === "bad" ? reasonWords(reason) : `is ${item.state}.`}
      </p>
      {editing.value ? (
        <Editor
          mending={mending}
          editing={editing.value}
          words={words}
          onKeep={(fields) => {
            mending.keep(editing.value!, fields);
            done();
          }}
          onCancel={() => {
            editing.value = undefined;
            requestAnimationFrame(() => first.current?.focus());
          }}
        />
      ) : item.state !== "bad" ? (
        <button type="button" class="small" ref={first} aria-label={`Undo: ${words}`} onClick={() => (mending.undo(item), done())}>
          Undo
        </button>
      ) : (
        !sealed && (
          <span class="buttons">
            <button type="button" class="small" ref={first} aria-label={`Mend it: ${words}`} onClick={() => void trying(async () => void (editing.value = await mending.open(item)))}>
              Mend it
            </button>
            <button type="button" class="small" aria-label={`Leave it out: ${words}`} onClick={() => void trying(() => mending.leaveOut(item).then(done))}>
              Leave it out
            </button>
          </span>
        )
      )}
      {problem.value && <p class="wrong" role="alert">{problem.value}</p>}
    </li>
  );
}

interface EditorProps {
  mending: Mending;
  editing: Editing;
  words: string;
  onKeep(fields: string[]): void;
  onCancel(): void;
}

/** A row in a field for each of its cells, or for its text, which is checked while one types. */
function Editor({ mending, editing, words, onKeep, onCancel }: EditorProps) {
  const fields = useSignal(editing.fields);
  /** What is wrong with it; nothing while that is not known. */
  const problem = useSignal<string | undefined>("");
  const box = useRef<HTMLDivElement>(null);
  const turn = useRef(0);
  useEffect(() => box.current?.querySelector("textarea")?.focus(), []);
  useEffect(() => {
    const mine = ++turn.current;
    const later = setTimeout(async () => {
      const found = await mending.problemOf(editing, fields.value);
      if (mine === turn.current) problem.value = found;
    }, PAUSE_MILLIS);
    return () => clearTimeout(later);
  }, [fields.value]);
  const write = (index: number, text: string) => {
    problem.value = "";
    fields.value = fields.value.with(index, text);
  };
  const is_fine = problem.value === undefined;
  return (
    <div class="editor" ref={box}>
      {editing.columns.map((column, index) => (
        <label key={column}>
          {column === "" ? "The row as the file has it" : columnName(column)}
          <textarea
            rows={2}
            spellcheck={column !== ""}
            class={column === "" ? "code" : ""}
            value={fields.value[index]}
            onInput={(event) => write(index, event.currentTarget.value)}
          />
        </label>
      ))}
      <p class={is_fine ? "fine" : "wrong"} role="status">
        {is_fine ? "It can be used so." : problem.value === "" ? "Looking at it…" : reasonWords(problem.value!)}
      </p>
      <span class="buttons">
        <button type="button" class="small" disabled={!is_fine} aria-label={`Keep it mended: ${words}`} onClick={() => onKeep(fields.value)}>
          Keep it mended
        </button>
        <button type="button" class="small" onClick={onCancel}>
          Cancel
        </button>
      </span>
    </div>
  );
}
