import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { SeenAsChat } from "./as-seen.js";
import type { Browsing, PlacedRow } from "./browsing.js";
import { sayingsOf, withWords } from "./saying.js";

interface Props {
  browsing: Browsing;
  /** Does work when nothing else runs, and tells what goes wrong. */
  doing(work: () => Promise<void>): void;
}

/** The rows of a kept dataset, some at a time. */
export function Browse({ browsing, doing }: Props) {
  const name = browsing.name.value;
  const words = useSignal("");
  const title = useRef<HTMLHeadingElement>(null);
  if (name === undefined) return null;
  const found = browsing.found.value;
  const [first, end, all] = [browsing.first.value, browsing.end.value, browsing.count.value];
  const going = (place: number) => {
    doing(() => browsing.goTo(place));
    title.current?.focus({ preventScroll: true });
  };
  const range = all === 0 ? "None" : `${(first + 1).toLocaleString("en")}–${end.toLocaleString("en")} of ${all.toLocaleString("en")}`;
  return (
    <section class="card browse" aria-labelledby="browse-title">
      <div class="row">
        <h3 id="browse-title" ref={title} tabIndex={-1}>
          {name}
        </h3>
        <button type="button" class="small" onClick={() => browsing.close()}>
          Close
        </button>
      </div>
      <form
        class="find"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          doing(() => browsing.search(words.value));
        }}
      >
        <input type="search" aria-label={`Find in ${name}`} placeholder="Find words in the rows" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
        <button type="submit" class="small">
          Find
        </button>
        {found && (
          <button
            type="button"
            class="small"
            onClick={() => {
              words.value = "";
              doing(() => browsing.search(""));
            }}
          >
            Show all
          </button>
        )}
      </form>
      <p class="hint" role="status">{`${found ? `${found.note} ` : ""}${range}`}</p>
      <ol class="browse-rows">
        {browsing.shown.value.map((placed) => (
          <BrowsedRow key={`${placed.place} ${JSON.stringify(placed.row)}`} placed={placed} browsing={browsing} doing={doing} />
        ))}
      </ol>
      <div class="buttons">
        <button type="button" class="small" disabled={first === 0} onClick={() => going(Math.max(0, first - browsing.at_once))}>
          Earlier rows
        </button>
        <button type="button" class="small" disabled={end >= all} onClick={() => going(end)}>
          Later rows
        </button>
      </div>
      {!browsing.can_change.value && <p class="hint">These are too many rows to be changed one by one.</p>}
    </section>
  );
}

function BrowsedRow({ placed, browsing, doing }: { placed: PlacedRow; browsing: Browsing; doing: Props["doing"] }) {
  const edited = useSignal<object | undefined>(undefined);
  const { place, row } = placed;
  const number = (place + 1).toLocaleString("en");
  const change = (to: object | undefined) =>
    doing(async () => {
      await browsing.change(place, to);
      edited.value = undefined;
    });
  if (edited.value) {
    const parts = sayingsOf(edited.value);
    return (
      <li class="editor">
        {parts.map(({ who, text, path }, index) =>
          path.length === 0 ? null : (
            <label key={index}>
              {who}
              <textarea rows={2} value={text} onInput={(event) => (edited.value = withWords(edited.value!, path, event.currentTarget.value))} />
            </label>
          ),
        )}
        <span class="buttons">
          <button type="button" class="small" onClick={() => change(edited.value)}>
            Keep the change
          </button>
          <button type="button" class="small" onClick={() => (edited.value = undefined)}>
            Cancel
          </button>
        </span>
      </li>
    );
  }
  return (
    <li>
      <div class="row">
        <b>Row {number}</b>
        {browsing.can_change.value && (
          <span class="buttons">
            <button type="button" class="small" aria-label={`Change row ${number}`} onClick={() => (edited.value = row)}>
              Change
            </button>
            <button type="button" class="small" aria-label={`Leave out row ${number}`} onClick={() => change(undefined)}>
              Leave out
            </button>
          </span>
        )}
      </div>
      <SeenAsChat row={row} />
    </li>
  );
}
