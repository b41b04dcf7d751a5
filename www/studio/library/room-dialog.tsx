import { Dataset, Trainer } from "tabtune";
import { computed, signal } from "@preact/signals";
import { render } from "preact";
import { block, type Busy } from "../shell/busy.js";
import { Dialog } from "../ui/dialog.js";
import { element, say, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import type { Item } from "./items.js";
import { suggestionsFor, type Suggestion } from "./room.js";
import { sizeWords } from "./sizes.js";

/** The dialog that offers what could go, each with what would be lost, and deletes what was chosen after one question. */
export class RoomDialog {
  readonly #busy: Busy;
  readonly #dialog: Dialog;
  readonly #suggestions = signal<Suggestion[]>([]);
  readonly #chosen = signal<ReadonlySet<string>>(new Set());
  readonly #total = computed(() => this.#picked.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0));
  readonly #remove: (item: Item) => Promise<void>;

  /** `remove` deletes an item. */
  constructor(busy: Busy, remove: (item: Item) => Promise<void>) {
    this.#busy = busy;
    this.#dialog = new Dialog("room", busy);
    this.#remove = remove;
    element("room-begin").addEventListener("click", () => void this.#free());
    render(<Suggestions suggestions={this.#suggestions} chosen={this.#chosen} />, element("room-list"));
    this.#chosen.subscribe(() => this.#tell());
  }

  /** Offers what could go of these. What loses nothing is chosen at first. */
  open(items: readonly Item[]): void {
    const suggestions = suggestionsFor(items);
    this.#suggestions.value = suggestions;
    this.#chosen.value = new Set(suggestions.filter(({ loss }) => loss.startsWith("Nothing:")).map(({ key }) => key));
    show("room-empty", suggestions.length === 0);
    show("room-begin", suggestions.length > 0);
    this.#dialog.open();
  }

  get #picked(): Suggestion[] {
    return this.#suggestions.value.filter(({ key }) => this.#chosen.value.has(key));
  }

  #tell(): void {
    const picked = this.#picked;
    block("room-begin", picked.length === 0);
    this.#busy.update();
    write("room-begin", picked.length === 0 ? "Choose what may go" : `Delete ${count(picked.length, "thing")}, ${sizeWords(this.#total.value)}`);
  }

  async #free(): Promise<void> {
    const picked = this.#picked;
    const names = picked.map(({ name }) => `“${name}”`).join(", ");
    if (!confirm(`Delete ${names} from this browser? That frees ${sizeWords(this.#total.value)}.`)) return;
    const freed = sizeWords(this.#total.value);
    const done = await this.#dialog.run(async () => {
      for (const { freeing } of picked) {
        if (freeing.does === "delete") await this.#remove(freeing.item);
        else if (freeing.does === "forget") await Trainer.forget(freeing.entry.learnt.id);
        else await (await Dataset.open(freeing.dataset)).discard_pending();
      }
    });
    if (!done) return;
    this.#dialog.close();
    say(`${freed} are free again.`);
  }
}

function Suggestions({ suggestions, chosen }: { suggestions: { value: Suggestion[] }; chosen: { value: ReadonlySet<string> } }) {
  const toggle = (key: string) => {
    const keys = new Set(chosen.value);
    if (!keys.delete(key)) keys.add(key);
    chosen.value = keys;
  };
  return (
    <ul class="choosing" aria-label="What could go">
      {suggestions.value.map(({ key, name, bytes: size, loss }) => (
        <li key={key}>
          <label>
            <input type="checkbox" checked={chosen.value.has(key)} onChange={() => toggle(key)} />
            <span>
              <b>{name}</b> {size !== undefined && <span class="figure">{sizeWords(size)}</span>}
              <span class="hint">{loss}</span>
            </span>
          </label>
        </li>
      ))}
    </ul>
  );
}
