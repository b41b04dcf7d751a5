import { Dataset } from "tabtune";
import { signal, type Signal } from "@preact/signals";
import { render } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { modelWords } from "../train/model-name.js";
import { element, say } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { begunRuns, type Begun } from "./begun.js";

/** The places that tell of runs that came to nothing. */
const PLACES = ["home", "library"] as const;

/** What the card asks of the page. */
export interface BegunWork {
  anew(begun: Begun): void;
  /** Buttons came: those that wait while work is done are to wait. */
  drawn(): void;
}

interface Entry {
  begun: Begun;
  has_rows: boolean;
}

/** Tells of runs that came to nothing, to begin them anew or to forget them. */
export class BegunCard {
  readonly #entries = signal<Entry[]>([]);

  constructor(work: BegunWork) {
    for (const place of PLACES) {
      const forget = ({ id, name }: Begun) => {
        begunRuns.forget(id);
        this.#entries.value = this.#entries.value.filter(({ begun }) => begun.id !== id);
        // The button that had the keyboard is gone.
        element(`${place}-title`).focus({ preventScroll: true });
        say(`“${name}” is forgotten.`);
      };
      render(<Card place={place} entries={this.#entries} work={work} forget={forget} />, element(`begun-${place}`));
    }
  }

  /** Looks which came to nothing. Those with the ids `kept` came to something. */
  async refresh(kept: ReadonlySet<string>): Promise<void> {
    const [runs, datasets] = await Promise.all([begunRuns.left(kept), Dataset.list()]);
    const there = new Set(datasets.filter(({ rows }) => rows > 0).map(({ name }) => name));
    this.#entries.value = runs.map((begun) => ({ begun, has_rows: there.has(begun.rows.dataset) }));
  }
}

interface CardProps {
  place: (typeof PLACES)[number];
  entries: Signal<Entry[]>;
  work: BegunWork;
  forget(begun: Begun): void;
}

function Card({ place, entries, work, forget }: CardProps) {
  useLayoutEffect(() => work.drawn());
  if (entries.value.length === 0) return null;
  const title = `begun-${place}-title`;
  return (
    <section class="card again" aria-labelledby={title}>
      <h3 id={title}>Begun, but nothing was saved</h3>
      <ul>
        {entries.value.map(({ begun, has_rows }) => (
          <li key={begun.id}>
            <span class="grows">
              <span>{wordsOf(begun)}</span>
              <span class="hint">{has_rows ? settingsOf(begun) : "Its rows are no longer in this browser, so it cannot be begun anew."}</span>
            </span>
            <div class="buttons">
              {has_rows && (
                <button type="button" class="quiet" data-idle="" aria-label={`Begin it anew: ${begun.name}`} onClick={() => work.anew(begun)}>
                  Begin it anew
                </button>
              )}
              <button type="button" class="quiet" aria-label={`Forget it: ${begun.name}`} onClick={() => forget(begun)}>
                Forget it
              </button>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** That it was begun, and what became of it. */
export function wordsOf({ name, model, date }: Begun): string {
  const when = new Date(date).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  return `A run of “${name}” on ${modelWords(model)} was begun on ${when} and came to nothing: the page went away before anything was saved.`;
}

function settingsOf({ rows, config }: Begun): string {
  const steps = count(config.train.max_steps ?? 0, "step");
  return rows.count === null ? steps : `${count(rows.count, "row")} · ${steps}`;
}
