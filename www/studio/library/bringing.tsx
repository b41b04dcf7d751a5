import { signal, type Signal } from "@preact/signals";
import { render } from "preact";
import { block, type Busy, type Task } from "../shell/busy.js";
import { messageOf, showError } from "../shell/errors.js";
import { Dialog } from "../ui/dialog.js";
import { element, say, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { Archive } from "./archive/archive.js";
import { bring } from "./archive/into.js";
import type { Here, Planned, Stores } from "./archive/kinds/kind.js";
import { planFor } from "./archive/plan.js";
import { BRINGING } from "./entries.js";
import { KIND_WORDS } from "./items.js";
import { sizeWords } from "./sizes.js";

/** What the dialog asks of the page. */
export interface BringWork {
  here(): Promise<Here>;
  stores(): Promise<Stores>;
}

/** The dialog that shows what is in an exported file, and brings what is chosen of it into this browser. */
export class Bringing {
  readonly #busy: Busy;
  readonly #dialog: Dialog;
  readonly #work: BringWork;
  readonly #plan = signal<readonly Planned[]>([]);
  readonly #chosen = signal<ReadonlySet<Planned>>(new Set());
  #archive: Archive | undefined;
  readonly #task: Task = {
    begin: "bring-begin",
    stop: "bring-stop",
    ended: (how) => {
      show("bring-progress", false);
      if (how === "stopped") write("bring-state", "Stopped. What was imported before that stays; of the rest nothing is here.");
    },
  };

  constructor(busy: Busy, work: BringWork) {
    this.#busy = busy;
    this.#work = work;
    this.#dialog = new Dialog("bring", busy);
    element("bring-begin").addEventListener("click", () => void this.#bring());
    render(<Contents plan={this.#plan} chosen={this.#chosen} />, element("bring-list"));
    this.#chosen.subscribe(() => this.#tell());
  }

  /** Shows what is in a file before anything of it is taken. */
  async look(file: File): Promise<void> {
    const done = await this.#busy.run(async () => {
      const archive = (this.#archive = await Archive.open(file));
      await this.#show(archive, await this.#work.here());
    });
    if (!done) return;
    const { made, page, models } = this.#archive!.manifest;
    write("bring-about", `${file.name}: made on ${dateWords(made)} by version ${page.slice(0, 20)} of this page. Nothing that is here is written over.`);
    const names = models.map(({ name, bytes: size }) => `${name} (${sizeWords(size)})`);
    write("bring-models", names.length > 0 ? `Not in the file, and downloaded when they are needed: ${names.join(", ")}.` : "");
    write("bring-state", "");
    this.#dialog.open();
  }

  async #show(archive: Archive, here: Here): Promise<void> {
    const plan = await planFor(archive, here);
    this.#plan.value = plan;
    this.#chosen.value = new Set(plan.filter(({ is_here }) => !is_here));
  }

  #tell(): void {
    const chosen = [...this.#chosen.value];
    const size = chosen.reduce((sum, planned) => sum + planned.bytes, 0);
    write("bring-begin", chosen.length === 0 ? "Nothing to import" : `Import ${count(chosen.length, "thing")}, ${sizeWords(size)}`);
    block("bring-begin", chosen.length === 0);
    this.#busy.update();
  }

  async #bring(): Promise<void> {
    const archive = this.#archive!;
    const [plan, chosen] = [this.#plan.value, [...this.#chosen.value]];
    const bar = element<HTMLProgressElement>("bring-progress");
    bar.value = 0;
    show("bring-progress", true);
    write("bring-state", "");
    let problems: string[] = [];
    // What people chose to keep should not go when the disk fills up. A refusal changes nothing.
    navigator.storage?.persist?.().catch(() => false);
    const done = await this.#dialog.run(async (signal) => {
      const stores = await this.#work.stores();
      const following = { signal, report: (percent: number) => (bar.value = percent) };
      const failed = await navigator.locks.request(BRINGING, { signal }, () => bring(archive, plan, chosen, stores, following));
      problems = failed.map(({ name, thrown }) => `“${name}” was not imported: ${messageOf(thrown)}`);
    }, this.#task);
    await this.#work.here().then((here) => this.#show(archive, here), showError);
    if (!done) return;
    const brought = chosen.length - problems.length;
    if (problems.length > 0) return this.#dialog.tell(problems.join(" "));
    this.#dialog.close();
    say(`${count(brought, "thing")} imported.`);
  }
}

function Contents({ plan, chosen }: { plan: Signal<readonly Planned[]>; chosen: Signal<ReadonlySet<Planned>> }) {
  const toggle = (planned: Planned) => {
    const all = new Set(chosen.value);
    if (!all.delete(planned)) all.add(planned);
    chosen.value = all;
  };
  return (
    <ul class="choosing" aria-label="What is in the file">
      {plan.value.map((planned) => {
        const { item, name, is_here } = planned;
        const kind = item.kind === "steps" ? "run" : item.kind;
        return (
          <li key={item.files[0]!.path}>
            <label>
              <input type="checkbox" disabled={is_here} checked={chosen.value.has(planned)} onChange={() => toggle(planned)} />
              <span>
                <b>{item.name}</b> {kind !== "settings" && <span class={`kind-tag of-${kind}`}>{KIND_WORDS[kind].one}</span>} <span class="figure">{sizeWords(planned.bytes)}</span>
                <span class="hint">{noteOf(item.kind, item.name, name, is_here)}</span>
              </span>
            </label>
          </li>
        );
      })}
    </ul>
  );
}

function noteOf(kind: Planned["item"]["kind"], there: string, here: string, is_here: boolean): string {
  if (kind === "settings") return "Your licence, name and the like, where you have set none here.";
  if (is_here) return there === here ? "Is here already." : `Is here already, as “${here}”.`;
  return there === here ? "" : `There is another one of that name: it will be “${here}”.`;
}

function dateWords(made: string): string {
  const date = new Date(made);
  return Number.isNaN(date.getTime()) ? "an unknown day" : date.toLocaleDateString(undefined, { dateStyle: "medium" });
}
