import type { Dataset, Lengths, SeenRow, TrainConfig, Trainer } from "tabtune";
import { element, make, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { Histogram } from "../ui/histogram.js";

/** Rows that are shown at once. */
const ROWS = 3;

/** What becomes of the answer's tokens. */
type Fate = "learnt" | "avoided";

/** What the model will see of the rows: their tokens, which of these it learns, and how long they are. */
export class Look {
  readonly #histogram = new Histogram();
  readonly #rows = element("seen-rows");
  #more: (() => Promise<void>) | undefined;
  #shown: { dataset: string; longest: number } | undefined;

  /** The tokens of the longest row of what is shown. */
  get longest(): number | undefined {
    return this.#shown?.longest;
  }

  /** Shows the first rows and the lengths of all. Resolves once it is there to be looked at. */
  async show(trainer: Trainer, dataset: Dataset, train: TrainConfig, signal: AbortSignal): Promise<void> {
    const lengths = await trainer.lengths(dataset, { ...train, signal });
    const max_length = train.max_length ?? Math.max(lengths.longest, trainer.model.context);
    const counted = lengths.rows.reduce((sum, rows) => sum + rows, 0);
    let total = counted;
    this.#rows.replaceChildren();
    show("avoided-sign", false);
    this.#more = async () => {
      const first = this.#rows.childElementCount;
      const seen: SeenRow[] = await trainer.preview(dataset, { ...train, first, count: ROWS });
      // Of a pair both answers were counted.
      if (seen.some(({ rejected }) => rejected)) total = counted / 2;
      if (seen.some(({ rejected, label }) => rejected || label === false)) show("avoided-sign", true);
      this.#rows.append(...seen.map((row, index) => seenRow(row, first + index + 1)));
      show("look-more", this.#rows.childElementCount < total);
    };
    await this.#more();
    this.#shown = { dataset: dataset.name, longest: lengths.longest };
    show("look-card", true);
    write("look-about", `${dataset.name} · ${count(total, "row")}`);
    write("lengths-sum", inWords(lengths, max_length));
    element("lengths").setAttribute("aria-label", `How long the rows are. ${inWords(lengths, max_length)}`);
    this.#histogram.show(lengths, max_length);
  }

  /** Shows some more rows. */
  async more(): Promise<void> {
    await this.#more?.();
  }

  /** Takes away what is shown of rows that are no longer those. */
  keepOnly(dataset: string | undefined): void {
    if (this.#shown && this.#shown.dataset !== dataset) this.clear();
  }

  /** Takes away what a model showed that is gone, or of rows that are. */
  clear(dataset = this.#shown?.dataset): void {
    if (dataset !== this.#shown?.dataset) return;
    this.#more = this.#shown = undefined;
    show("look-card", false);
  }
}

function inWords({ longest, cut_rows, cut_tokens }: Lengths, max_length: number): string {
  const limit = `${max_length.toLocaleString("en")} tokens`;
  if (cut_rows === 0) return `Nothing is cut off: the longest row has ${count(longest, "token")}, and up to ${limit} are kept.`;
  const are = cut_rows === 1 ? "is" : "are";
  return `${count(cut_rows, "row")} ${are} longer than ${limit}; ${count(cut_tokens, "token")} ${cut_tokens === 1 ? "is" : "are"} cut off.`;
}

/** `place` counts from 1. Rows that were picked came one by one, so that the origin of each is the first row of something. */
function seenRow({ origin, label, rejected, ...answer }: SeenRow, place: number): HTMLElement {
  const row = `Row ${place.toLocaleString("en")}`;
  const rated = label === undefined ? origin : `${row}, rated ${label ? "good" : "bad"}`;
  const parts = [answerIn(rejected ? `${row}, the better answer` : rated, answer, label === false ? "avoided" : "learnt")];
  if (rejected) parts.push(answerIn(`${row}, the worse answer`, rejected, "avoided"));
  const article = make("article", "seen-row", ...parts.flat());
  article.title = origin;
  return article;
}

function answerIn(title: string, { tokens, full_length }: Pick<SeenRow, "tokens" | "full_length">, fate: Fate): HTMLElement[] {
  const labelled = tokens.filter(({ labelled }) => labelled).length;
  const notes = [count(tokens.length, "token"), `${labelled.toLocaleString("en")} ${fate}`];
  if (full_length > tokens.length) notes.push(`${(full_length - tokens.length).toLocaleString("en")} cut off`);
  return [make("h4", "", title, make("span", "", notes.join(" · "))), make("p", "tokens", ...tokens.map((seen) => token(seen, fate)))];
}

function token({ id, text, labelled, special }: SeenRow["tokens"][number], fate: Fate): HTMLElement {
  const shown = make("span", `${special ? "special" : "token"} ${labelled ? fate : "unlearnt"}`, text);
  shown.title = `Token ${id}${special ? ", special" : ""}, ${labelled ? fate : "read only"}`;
  return shown;
}
