import { signal } from "@preact/signals";
import { render } from "preact";
import { MOST_OTHERS } from "./run-looks.js";

/** A run whose log is kept. */
export interface Other {
  id: string;
  name: string;
}

/** The list of kept runs, of which some are laid over the one that is watched. */
export class OtherRuns {
  readonly #kept = signal<Other[]>([]);
  readonly #chosen = signal<Other[]>([]);
  readonly #on_change: () => void;

  /** `on_change` is told when others are chosen. */
  constructor(box: HTMLElement, on_change: () => void) {
    this.#on_change = on_change;
    const choose = (run: Other, is_chosen: boolean) => this.#choose(run, is_chosen);
    render(<List kept={this.#kept} chosen={this.#chosen} choose={choose} />, box);
  }

  get chosen(): Other[] {
    return this.#chosen.value;
  }

  /** Lists these. What is chosen stays so, as far as it is there. */
  show(kept: Other[]): void {
    this.#kept.value = kept;
    const left = this.#chosen.value.flatMap(({ id }) => kept.find((run) => run.id === id) ?? []);
    const is_same = left.length === this.#chosen.value.length && left.every(({ name }, index) => name === this.#chosen.value[index]!.name);
    if (is_same) return;
    this.#chosen.value = left;
    this.#on_change();
  }

  #choose(run: Other, is_chosen: boolean): void {
    const others = this.#chosen.value.filter(({ id }) => id !== run.id);
    this.#chosen.value = is_chosen ? [...others, run] : others;
    this.#on_change();
  }
}

interface Props {
  kept: { value: Other[] };
  chosen: { value: Other[] };
  choose(run: Other, is_chosen: boolean): void;
}

function List({ kept, chosen, choose }: Props) {
  if (kept.value.length === 0) return null;
  const is_full = chosen.value.length >= MOST_OTHERS;
  return (
    <details class="others">
      <summary>Compare it with earlier runs</summary>
      <ul>
        {kept.value.map((run) => {
          const place = chosen.value.findIndex(({ id }) => id === run.id);
          return (
            <li key={run.id}>
              <label class="check">
                <input type="checkbox" checked={place >= 0} disabled={is_full && place < 0} onChange={(event) => choose(run, event.currentTarget.checked)} />
                <span>{run.name}</span>
                {place >= 0 && <Stroke place={place} />}
              </label>
            </li>
          );
        })}
      </ul>
      {is_full && <p class="hint">Up to {MOST_OTHERS} at a time.</p>}
    </details>
  );
}

/** The line that stands for a run. */
function Stroke({ place }: { place: number }) {
  return (
    <svg class={`stroke run-${place + 1}`} viewBox="0 0 34 6" aria-hidden="true">
      <path d="M0 3h34" />
    </svg>
  );
}
