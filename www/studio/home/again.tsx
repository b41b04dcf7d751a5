import { signal } from "@preact/signals";
import { render } from "preact";
import { waysOf, type LearntEntry } from "../library/entries.js";
import type { Learnt } from "../library/learnt.js";
import { modelWords } from "../train/model-name.js";
import { element } from "../ui/dom.js";

/** Entries that are offered. The library has all of them. */
const MOST = 3;

/** What can be done again. */
export interface Actions {
  open(learnt: Learnt): void;
  goOn(learnt: Learnt): void;
  /** Whether the person looks at a run below this list, which is not to be moved by it. */
  is_still(): boolean;
}

interface Entry {
  learnt: Learnt;
  /** The step from which its run can go on; undefined where it is opened. */
  from: number | undefined;
}

/** What a person did last, to go on with it on the next visit. */
export class Again {
  readonly #entries = signal<Entry[]>([]);
  readonly #actions: Actions;

  constructor(actions: Actions) {
    this.#actions = actions;
    render(<List entries={this.#entries} actions={actions} />, element("again"));
  }

  /** Offers the latest of what there is. */
  show(found: readonly LearntEntry[]): void {
    const is_there = ({ learnt }: Entry) => found.some((entry) => entry.learnt.id === learnt.id);
    // What is gone leaves in any case.
    this.#entries.value = this.#actions.is_still() ? this.#entries.value.filter(is_there) : found.slice(0, MOST).flatMap(entryOf);
  }
}

/** What can be done with it, if anything. */
function entryOf(found: LearntEntry): Entry[] {
  const { learnt, saved_step } = found;
  const ways = waysOf(found);
  if (ways.includes("go on")) return [{ learnt, from: saved_step }];
  return ways.includes("open") ? [{ learnt, from: undefined }] : [];
}

function List({ entries, actions }: { entries: { value: Entry[] }; actions: Actions }) {
  const [first, ...others] = entries.value;
  if (!first) return null;
  return (
    <section class="card again" aria-labelledby="again-title">
      <h3 id="again-title">Go on with what you did</h3>
      <ul>
        {[first, ...others].map((entry) => (
          <Item key={entry.learnt.id} entry={entry} is_first={entry === first} actions={actions} />
        ))}
      </ul>
    </section>
  );
}

function Item({ entry: { learnt, from }, is_first, actions }: { entry: Entry; is_first: boolean; actions: Actions }) {
  const { name, model, date, config } = learnt;
  const when = new Date(date).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const far = from === undefined ? "" : ` · ${from.toLocaleString("en")} of ${(config.train.max_steps ?? 0).toLocaleString("en")} steps`;
  const word = from === undefined ? "Talk to it" : "Go on with it";
  return (
    <li>
      <span class="grows">
        <b>{name}</b>
        <span class="hint">{`${modelWords(model)}${far} · ${when}`}</span>
      </span>
      <button type="button" class={is_first ? "primary" : "quiet"} data-idle="" aria-label={`${word}: ${name}`} onClick={() => (from === undefined ? actions.open(learnt) : actions.goOn(learnt))}>
        {word}
      </button>
    </li>
  );
}
