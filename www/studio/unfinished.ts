import { Dataset, Trainer } from "tabtune";
import { element, show, write } from "./dom.js";
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

/** Runs that were begun here and have not ended, kept by the browser, and the offer to go on with the latest. */
export class Unfinished {
  readonly #model: ModelForm;
  #offered: Begun | undefined;
  /** Counts what was asked, so that a late answer does not undo a newer one. */
  #asked = 0;

  /** `on_answer` is told whether to go on, or to begin again. */
  constructor(model: ModelForm, on_answer: (resumes: boolean) => void) {
    this.#model = model;
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
    localStorage.setItem(PREFIX + dataset.name, JSON.stringify(run));
  }

  forget({ rows }: Order): void {
    localStorage.removeItem(PREFIX + rows.dataset.name);
  }

  /** Offers the run that was begun last, if a checkpoint of it is there. */
  async refresh(): Promise<void> {
    const turn = ++this.#asked;
    for (const run of kept()) {
      const last = (await Trainer.checkpoints(run.dataset)).at(-1);
      if (turn !== this.#asked) return;
      if (!last) continue;
      this.#offered = run;
      const step = last.step.toLocaleString("en");
      write("unfinished-about", `“${run.dataset}” was learnt until step ${step} of ${run.config.train.max_steps}, which is saved in this browser.`);
      write("go-on", `Go on from step ${step}`);
      return show("unfinished", true);
    }
    if (turn === this.#asked) this.hide();
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

/** Forgets the run of a dataset that is deleted, with its checkpoints. */
export async function forgetRun(dataset: string): Promise<void> {
  localStorage.removeItem(PREFIX + dataset);
  await Trainer.forget(dataset);
}

/** What is kept, the latest first. */
function kept(): Begun[] {
  const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX));
  const runs = names.map((name) => JSON.parse(localStorage.getItem(name)!) as Begun);
  return runs.sort((a, b) => b.begun - a.begun);
}
