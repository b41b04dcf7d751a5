import { VERSION } from "tabtune";
import { computed, signal } from "@preact/signals";
import { render } from "preact";
import { block, type Busy, type Task } from "../shell/busy.js";
import { Dialog } from "../ui/dialog.js";
import { element, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { stored } from "../ui/stored.js";
import { settingsToPack, toPack, type Sources } from "./archive/out.js";
import { pack, type ToPack } from "./archive/pack.js";
import { settingsOf } from "./archive/records.js";
import { pickTarget } from "./archive/sink.js";
import { isLearnt, KIND_WORDS, sumsOf, type Item, type ItemKind } from "./items.js";
import { sizeWords } from "./sizes.js";

/** Kinds that can be taken along. Models are named, and downloaded again. */
const TAKEN = ["run", "adapter", "dataset", "chat"] as const satisfies readonly ItemKind[];

/** The dialog that exports the library, or some kinds of things in it, to one file. */
export class Taking {
  readonly #busy: Busy;
  readonly #dialog: Dialog;
  readonly #sources: () => Promise<Sources>;
  readonly #items = signal<readonly Item[]>([]);
  readonly #left_out = signal<ReadonlySet<ItemKind>>(new Set());
  readonly #bytes = computed(() => this.#picked.reduce((sum, item) => sum + item.bytes, 0));
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
    render(<Kinds items={this.#items} left_out={this.#left_out} />, element("take-kinds"));
    this.#left_out.subscribe(() => this.#tell());
  }

  /** Asks what of these is to be exported. */
  open(items: readonly Item[]): void {
    this.#items.value = items;
    write("take-state", "");
    this.#tell();
    write("take-not", notTaken(items));
    this.#dialog.open();
  }

  get #picked(): Item[] {
    return this.#items.value.filter((item) => isTaken(item) && !this.#left_out.value.has(item.kind));
  }

  #tell(): void {
    const picked = this.#picked;
    write("take-begin", picked.length === 0 ? "Nothing to export" : `Export ${count(picked.length, "thing")}, ${sizeWords(this.#bytes.value)}`);
    block("take-begin", picked.length === 0);
    this.#busy.update();
  }

  #take(): void {
    const picked = this.#picked;
    // Browsers open their picker right after a click alone.
    const target = pickTarget(`tabtune-${new Date().toISOString().slice(0, 10)}.tabtune`);
    void this.#dialog.run(async (signal) => {
      write("take-state", "");
      const to = await target;
      if (!to) return;
      const bar = element<HTMLProgressElement>("take-progress");
      bar.value = 0;
      show("take-progress", true);
      const sources = await this.#sources();
      const all = await Promise.all(picked.map((item) => toPack(item, sources)));
      const items: ToPack[] = all.filter((item) => item !== undefined);
      const settings = settingsToPack(settingsOf(stored.get));
      const models = this.#items.value.flatMap((item) => (item.kind === "model" ? item.subject : []));
      await pack(
        {
          items: settings ? [...items, settings] : items,
          models: models.map(({ name, revision, bytes }) => ({ name, revision, bytes })),
          page: VERSION,
          signal,
          report: (percent) => (bar.value = percent),
        },
        to,
      );
      write("take-state", `${count(items.length, "thing")} exported. The file is ${to.place}.`);
    }, this.#task);
  }
}

/** Whether it can be taken along: what has its files, and rows that came through. */
function isTaken(item: Item): boolean {
  if (item.kind === "model") return false;
  if (item.kind === "dataset") return item.subject.rows > 0;
  return item.kind === "chat" || !isLearnt(item.subject) || item.subject.learnt.has_files;
}

/** What does not come along, in words. */
function notTaken(items: readonly Item[]): string {
  const told = ["Runs that are not over go on in this browser alone; what they have learnt so far comes along."];
  const whole = items.filter((item) => (item.kind === "run" || item.kind === "adapter") && !isTaken(item));
  if (whole.length > 0) told.push(`${whole.map(({ name }) => `“${name}”`).join(", ")} stays here: it is its saved steps alone. Open it and save it under “For other programs”.`);
  const models = items.filter(({ kind }) => kind === "model");
  if (models.length > 0) told.push(`Downloaded models stay here, ${sizeWords(models.reduce((sum, item) => sum + item.bytes, 0))}; their names come along, and they are downloaded again where they are needed.`);
  told.push("The key that you sign with never leaves this browser.");
  return told.join(" ");
}

function Kinds({ items, left_out }: { items: { value: readonly Item[] }; left_out: { value: ReadonlySet<ItemKind> } }) {
  const sums = sumsOf(items.value.filter(isTaken));
  const toggle = (kind: ItemKind) => {
    const kinds = new Set(left_out.value);
    if (!kinds.delete(kind)) kinds.add(kind);
    left_out.value = kinds;
  };
  const there = TAKEN.filter((kind) => sums[kind].count > 0);
  return (
    <ul class="choosing" aria-label="What is exported">
      {there.map((kind) => (
        <li key={kind}>
          <label>
            <input type="checkbox" checked={!left_out.value.has(kind)} onChange={() => toggle(kind)} />
            <span>
              <b>{KIND_WORDS[kind].many}</b> <span class="figure">{`${sums[kind].count}, ${sizeWords(sums[kind].bytes)}`}</span>
            </span>
          </label>
        </li>
      ))}
    </ul>
  );
}
