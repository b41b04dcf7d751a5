import { VERSION } from "tabtune";
import { computed, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { render } from "preact";
import { block, type Busy, type Task } from "../shell/busy.js";
import { Dialog } from "../ui/dialog.js";
import { element, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { stored } from "../ui/stored.js";
import type { Sources } from "./archive/kinds/kind.js";
import { isOfThePage } from "./archive/kinds/model.js";
import { settingsToPack } from "./archive/kinds/settings.js";
import { toPack } from "./archive/out.js";
import { pack, TOO_MUCH, type ToPack } from "./archive/pack.js";
import { settingsOf } from "./archive/records.js";
import { pickTarget } from "./archive/sink.js";
import { MOST_ARCHIVE } from "./archive/zip.js";
import { canGoOn } from "./entries.js";
import { ITEM_KINDS, KIND_WORDS, type Item } from "./items.js";
import { sizeWords } from "./sizes.js";

/** Something of the library, and what is packed of it: nothing, where it cannot be taken along. */
interface Takeable {
  item: Item;
  packed: readonly ToPack[];
}

/** What is taken along or left out together: all of a kind, or one model, as each of them is large. */
interface Choice {
  key: string;
  /** What people know it by. */
  name: string;
  /** The kind, where that is not the name. */
  tag: string | undefined;
  things: readonly Takeable[];
}

/** The dialog that exports the library, or some of what is in it, to one file. */
export class Taking {
  readonly #busy: Busy;
  readonly #dialog: Dialog;
  readonly #sources: () => Promise<Sources>;
  readonly #all = signal<readonly Takeable[]>([]);
  readonly #choices = computed(() => choicesOf(this.#all.value));
  /** The keys of choices that are left out. */
  readonly #left_out = signal<ReadonlySet<string>>(new Set());
  readonly #picked = computed(() => this.#choices.value.filter(({ key }) => !this.#left_out.value.has(key)).flatMap(({ things }) => things));
  readonly #task: Task = {
    begin: "take-begin",
    stop: "take-stop",
    ended: (how) => {
      show("take-progress", false);
      if (how === "stopped") write("take-state", "Stopped. Nothing was exported.");
    },
  };

  constructor(busy: Busy, sources: () => Promise<Sources>) {
    this.#busy = busy;
    this.#sources = sources;
    this.#dialog = new Dialog("take", busy);
    element("take-begin").addEventListener("click", () => this.#take());
    render(<Choices choices={this.#choices} left_out={this.#left_out} />, element("take-kinds"));
    this.#picked.subscribe(() => this.#tell());
  }

  /** Asks what of these is to be exported. Models are among it where one file can hold everything. */
  async open(items: readonly Item[]): Promise<void> {
    const sources = await this.#sources();
    this.#all.value = await Promise.all(items.map(async (item) => ({ item, packed: await toPack(item, sources) })));
    const fits = bytesOf(this.#all.value) <= MOST_ARCHIVE;
    const models = this.#choices.value.filter(({ tag }) => tag !== undefined);
    this.#left_out.value = new Set(fits ? [] : models.map(({ key }) => key));
    this.#tell();
    write("take-not", notTaken(this.#all.value, fits));
    this.#dialog.open();
  }

  #tell(): void {
    const [things, bytes] = [this.#picked.value.length, bytesOf(this.#picked.value)];
    write("take-begin", things === 0 ? "Nothing to export" : `Export ${count(things, "thing")}, ${sizeWords(bytes)}`);
    write("take-state", bytes > MOST_ARCHIVE ? TOO_MUCH : "");
    block("take-begin", things === 0 || bytes > MOST_ARCHIVE);
    this.#busy.update();
  }

  #take(): void {
    const picked = this.#picked.value;
    // Browsers open their picker right after a click alone.
    const target = pickTarget(`tabtune-${new Date().toISOString().slice(0, 10)}.tabtune`);
    void this.#dialog.run(async (signal) => {
      write("take-state", "");
      const to = await target;
      if (!to) return;
      const bar = element<HTMLProgressElement>("take-progress");
      bar.value = 0;
      show("take-progress", true);
      const settings = settingsToPack(settingsOf(stored.get));
      const items = picked.flatMap(({ packed }) => packed);
      await pack(
        {
          items: settings ? [...items, settings] : items,
          models: this.#all.value.filter((thing) => !picked.includes(thing)).flatMap(namedModels),
          page: VERSION,
          signal,
          report: (percent) => (bar.value = percent),
        },
        to,
      );
      write("take-state", `${count(picked.length, "thing")} exported. The file is ${to.place}.`);
    }, this.#task);
  }
}

function bytesOf(things: readonly Takeable[]): number {
  return things.flatMap(({ packed }) => packed).reduce((sum, { bytes }) => sum + bytes, 0);
}

function choicesOf(all: readonly Takeable[]): Choice[] {
  const there = all.filter(({ packed }) => packed.length > 0);
  const kinds = ITEM_KINDS.filter((kind) => kind !== "model").map((kind) => ({ key: kind, name: KIND_WORDS[kind].many, tag: undefined, things: there.filter(({ item }) => item.kind === kind) }));
  const models = there.filter(({ item }) => item.kind === "model").map((thing) => ({ key: thing.item.key, name: thing.item.name, tag: KIND_WORDS.model.one, things: [thing] }));
  return [...kinds.filter(({ things }) => things.length > 0), ...models];
}

/** What the file tells of models that are not in it. */
function namedModels({ item }: Takeable) {
  if (item.kind !== "model" || isOfThePage(item.name)) return [];
  return item.subject.map(({ name, revision, bytes }) => ({ name, revision, bytes }));
}

/** How things come along, and what does not, in words. */
function notTaken(all: readonly Takeable[], fits: boolean): string {
  const told = all.some(({ item }) => item.kind === "run" && canGoOn(item.subject)) ? ["Runs that are not over come with their last saved step, and go on elsewhere with the same rows."] : [];
  const names = (things: readonly Takeable[]) => things.map(({ item }) => `“${item.name}”`).join(", ");
  const left = all.filter(({ packed }) => packed.length === 0);
  const models = left.filter(({ item }) => item.kind === "model" && !isOfThePage(item.name));
  if (models.length > 0) told.push(`${names(models)} stays here, as it is not downloaded to its end.`);
  if (!fits) told.push("Everything is more than 4 GB, which one file cannot hold, so no model is chosen yet.");
  if (all.some(({ item }) => item.kind === "model")) told.push("A model that does not come along is downloaded again where it is needed.");
  told.push("The key that you sign with never leaves this browser.");
  return told.join(" ");
}

function Choices({ choices, left_out }: { choices: ReadonlySignal<readonly Choice[]>; left_out: Signal<ReadonlySet<string>> }) {
  const toggle = (key: string) => {
    const keys = new Set(left_out.value);
    if (!keys.delete(key)) keys.add(key);
    left_out.value = keys;
  };
  return (
    <ul class="choosing" aria-label="What is exported">
      {choices.value.map(({ key, name, tag, things }) => (
        <li key={key}>
          <label>
            <input type="checkbox" checked={!left_out.value.has(key)} onChange={() => toggle(key)} />
            <span>
              <b>{name}</b> {tag && <span class="kind-tag of-model">{tag}</span>} <span class="figure">{`${tag ? "" : `${things.length}, `}${sizeWords(bytesOf(things))}`}</span>
            </span>
          </label>
        </li>
      ))}
    </ul>
  );
}
