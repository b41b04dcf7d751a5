import { Dataset, Trainer } from "tabtune";
import { element, show, write } from "./dom.js";
import { count } from "./format.js";
import type { Order } from "./job.js";
import type { ModelForm, ModelName } from "./model.js";

const PREFIX = "tabtune:run:";

/** A run that was begun, with all that its checkpoints need to go on. */
interface Begun {
  dataset: string;
  heldout: string | null;
  is_chat: boolean;
  model: ModelName;
  config: Order["config"];
  begun: number;
}

/** Runs that were begun here, kept by the browser, and the offer to go on with the latest or to open what it has learnt. */
export class Unfinished {
  readonly #model: ModelForm;
  #offered: Begun | undefined;
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;
  /** The dataset of the run that came to its end on this page. */
  #ended: string | undefined;

  /** `on_answer` is told whether to go on, or to begin again; `on_forget`, of which dataset to forget the run. */
  constructor(model: ModelForm, on_answer: (resumes: boolean) => void, on_forget: (dataset: string) => void) {
    this.#model = model;
    element("forget").addEventListener("click", () => {
      const name = this.#offered!.dataset;
      if (confirm(`Forget what was learnt from “${name}”?`)) on_forget(name);
    });
    element("go-on").addEventListener("click", () => on_answer(true));
    element("anew").addEventListener("click", () => on_answer(false));
  }

  /** Keeps what a run was begun with. */
  keep({ rows, config }: Order): void {
    const { dataset, heldout, is_chat } = rows;
    const run: Begun = {
      dataset: dataset.name,
      heldout: heldout?.name ?? null,
      is_chat,
      model: this.#model.name,
      config,
      begun: Date.now(),
    };
    this.#ended = undefined;
    localStorage.setItem(PREFIX + dataset.name, JSON.stringify(run));
  }

  /** The run is at its end, and its adapter on the page for as long as its model is. */
  ended({ rows }: Order): void {
    this.#ended = rows.dataset.name;
  }

  /** Offers the run that was begun last, if a checkpoint of it is there and its adapter is not on the page. */
  async refresh(has_adapter: boolean): Promise<void> {
    const turn = ++this.#asked;
    for (const run of kept()) {
      if (has_adapter && run.dataset === this.#ended) break;
      const last = (await Trainer.checkpoints(run.dataset)).at(-1);
      if (turn !== this.#asked) return;
      if (!last) continue;
      const is_over = last.step >= run.config.train.max_steps!;
      this.#offered = run;
      this.#offer(last.step, is_over);
      return;
    }
    if (turn === this.#asked) this.hide();
  }

  #offer(last: number, is_over: boolean): void {
    const { dataset, config } = this.#offered!;
    const step = last.toLocaleString("en");
    write("unfinished-title", is_over ? "What was learnt is still here" : "A run was not finished");
    const about = is_over ? `in ${count(last, "step")}` : `until step ${step} of ${config.train.max_steps}`;
    write("unfinished-about", `“${dataset}” was learnt ${about}, which is saved in this browser.`);
    write("go-on", is_over ? "Open it" : `Go on from step ${step}`);
    show("unfinished", true);
  }

  hide(): void {
    this.#asked += 1;
    show("unfinished", false);
  }

  /** The offered run, but for when to rest; its model and settings come from when it was begun. */
  async read(): Promise<Omit<Order, "policy">> {
    const { dataset, heldout, is_chat, model, config } = this.#offered!;
    const rows = { dataset: await Dataset.open(dataset), heldout: heldout === null ? undefined : await Dataset.open(heldout), is_chat };
    return { model: this.#model.readAgain(model), rows, config };
  }
}

/** Forgets the run of a dataset, with its checkpoints. */
export async function forgetRun(dataset: string): Promise<void> {
  await Trainer.forget(dataset);
  localStorage.removeItem(PREFIX + dataset);
}

/** What is kept, the latest first. */
function kept(): Begun[] {
  const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
  const runs = names.map((name) => JSON.parse(localStorage.getItem(name)!) as Begun);
  return runs.sort((a, b) => b.begun - a.begun);
}
