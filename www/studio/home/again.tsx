import { signal } from "@preact/signals";
import { render } from "preact";
import { Dataset, Trainer } from "tabtune";
import { LearntStore, type Learnt } from "../library/learnt.js";
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
  /** The step from which its run can go on; undefined where it has come to its end. */
  from: number | undefined;
}

/** What a person did last, to go on with it on the next visit. */
export class Again {
  readonly #store = new LearntStore();
  readonly #entries = signal<Entry[]>([]);
  readonly #actions: Actions;
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;

  constructor(actions: Actions) {
    this.#actions = actions;
    render(<List entries={this.#entries} actions={actions} />, element("again"));
  }

  async refresh(): Promise<void> {
    const turn = ++this.#asked;
    const [all, datasets] = await Promise.all([this.#store.all(), Dataset.list()]);
    const names = new Set(datasets.map(({ name }) => name));
    const entries: Entry[] = [];
    for (const learnt of all) {
      if (entries.length === MOST) break;
      const entry = await entryOf(learnt, names);
      if (entry) entries.push(entry);
    }
    if (turn !== this.#asked) return;
    // What is gone leaves in any case.
    const is_there = ({ learnt }: Entry) => all.some(({ id }) => id === learnt.id);
    this.#entries.value = this.#actions.is_still() ? this.#entries.value.filter(is_there) : entries;
  }
}

/** What can be done with it; undefined where there is nothing of it. */
async function entryOf(learnt: Learnt, datasets: Set<string>): Promise<Entry | undefined> {
  const total = learnt.config.train.max_steps ?? 0;
  const is_over = learnt.is_early || (learnt.steps ?? 0) >= total;
  const has_rows = learnt.rows !== null && datasets.has(learnt.rows.dataset);
  const saved = is_over || !has_rows ? 0 : ((await Trainer.checkpoints(learnt.id)).at(-1)?.step ?? 0);
  if (saved > 0 && saved < total) return { learnt, from: saved };
  return learnt.has_files ? { learnt, from: undefined } : undefined;
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
