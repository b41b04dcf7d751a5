import { Dataset, type Forgetting, type Trainer } from "tabtune";
import { element, show, write } from "../ui/dom.js";
import { count } from "../ui/format.js";
import type { HeldoutLosses, Learnt } from "../library/learnt.js";
import { readingOf } from "../train/reading.js";
import { heldoutWords, measuredWords, type Measured } from "./measured.js";
import { MissingInput } from "../ui/missing.js";
import { rowsIn } from "../data/stored-rows.js";
import { unlearntRows, type Unlearnt } from "../data/unlearnt.js";

/** What the measurement asks of the page. */
export interface MeasuringPage {
  /** Does work with the model, telling how far it has come, in percent. */
  measuring(work: (trainer: Trainer, signal: AbortSignal) => Promise<void>, report: (percent: number) => void): Promise<void>;
  /** What is kept of what is open. */
  open(): Promise<Learnt | undefined>;
  /** Keeps what it came to, in a few words. */
  keep(id: string, measured: string): Promise<void>;
}

/** Something to measure by. */
interface Way {
  value: string;
  words: string;
  /** Rows, and how many of them are looked at; or what a run told of its own share, whose rows are gone. */
  by: { dataset: string; most: number; share?: number } | HeldoutLosses;
}

/** What is measured, and by what. */
interface Work {
  trainer: Trainer;
  learnt: Learnt | undefined;
  signal: AbortSignal;
}

/** Rows that are looked at: of those that were held out, and of others. */
const MOST = { heldout: 200, other: 50 };

const ABOUT = "How likely the model finds rows that it has not learnt from, before and after. Rows that were learnt are no test.";
const NONE =
  "There are no rows here that it has not learnt from, and rows that were learnt are no test. Hold some out next time: " +
  "“Held-out share” in the settings, or a file of held-out rows under “Data”. Or import some more there.";
const CHOSEN = "The run kept what did best on these very rows, which flatters it: rows that had no part in it tell more.";
const UNKNOWN = "Nothing here tells which rows it has learnt from: what is said holds only if these were not among them.";

/** The part of the card that tells in numbers whether what was learnt makes the model better, and what it has forgotten. */
export class Measuring {
  readonly #page: MeasuringPage;
  readonly #choice = element<HTMLSelectElement>("measure-by");
  #ways: Way[] = [];
  #open: string | undefined;
  /** Counts what was asked, so that a late answer does not replace a newer one. */
  #asked = 0;

  constructor(page: MeasuringPage) {
    this.#page = page;
    const begin = () => this.#page.measuring((trainer, signal) => this.#measure(trainer, signal), report);
    element("measure-begin").addEventListener("click", () => void begin());
  }

  /** Measures what is open now, by what there is now. */
  async offer(open: string | undefined): Promise<void> {
    const turn = ++this.#asked;
    if (open !== this.#open) show("measure-result", false);
    this.#open = open;
    if (open === undefined) return;
    const learnt = await this.#page.open();
    const ways = waysOf(learnt, await Dataset.list());
    if (turn !== this.#asked) return;
    const chosen = this.#choice.value;
    this.#ways = ways;
    this.#choice.replaceChildren(...ways.map(({ value, words }) => new Option(words, value, false, value === chosen)));
    for (const id of ["measure-by-label", "measure-begin"]) show(id, ways.length > 0);
    write("measure-about", ways.length > 0 ? ABOUT : NONE);
  }

  async #measure(trainer: Trainer, signal: AbortSignal): Promise<void> {
    const way = this.#ways.find(({ value }) => value === this.#choice.value) ?? this.#ways[0];
    if (!way) return;
    show("measure-result", false);
    show("measure-progress", true);
    try {
      const learnt = await this.#page.open();
      const measured = await this.#measuredBy(way, { trainer, learnt, signal });
      this.#tell(measured);
      write("measure-state", "Looking at what it has forgotten…");
      const forgetting = await trainer.forgetting({ signal });
      tellForgetting(forgetting);
      const short = forgetting.has_forgotten ? `${measured.short}, and it has forgotten some` : measured.short;
      if (this.#open !== undefined) await this.#page.keep(this.#open, short);
      element("measure-verdict").focus();
    } finally {
      show("measure-progress", false);
      write("measure-state", "");
    }
  }

  async #measuredBy({ by }: Way, { trainer, learnt, signal }: Work): Promise<Measured> {
    const keeps_best = learnt?.config.train.load_best_model_at_end ?? false;
    if ("before" in by) return noted(heldoutWords(by), keeps_best ? CHOSEN : "");
    write("measure-state", "Reading the rows…");
    const dataset = await Dataset.open(by.dataset);
    // Of the rows of the run itself those were learnt that it did not hold out.
    const held_out = by.share === undefined ? undefined : new Set(await dataset.held_out(by.share));
    const found = await unlearntRows(rowsOf(dataset, held_out), learntRows(learnt, held_out), by.most);
    const { rows, of } = found;
    if (rows.length === 0) throw new MissingInput(`All rows of “${by.dataset}” were learnt, so they are no test. Choose others.`);
    write("measure-state", `Measuring ${rows.length === of ? "" : `${rows.length} of `}${count(of, "row")}…`);
    const evaluation = await trainer.evaluate(rows, { ...(learnt?.rows && { train: readingOf(learnt.config, learnt.rows) }), signal });
    if (evaluation.kind === "answers") throw new TypeError("no answers were asked for");
    const was_chosen = keeps_best && (held_out !== undefined || by.dataset === learnt?.rows?.heldout);
    return noted(measuredWords(evaluation), was_chosen ? CHOSEN : "", leftOutWords(found));
  }

  #tell({ verdict, counted, picture }: Measured): void {
    write("measure-verdict", verdict);
    write("measure-counted", counted);
    show("measure-forgetting", false);
    show("measure-interval", picture !== undefined);
    if (picture) {
      const { low, value, high } = picture;
      for (const [id, from, to] of [["measure-range", low, high], ["measure-change", value, value]] as const) {
        Object.assign(element(id).style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
      }
    }
    show("measure-result", true);
  }
}

function report(percent: number): void {
  element<HTMLProgressElement>("measure-progress").value = percent;
}

function noted(measured: Measured, ...notes: string[]): Measured {
  return { ...measured, counted: [measured.counted, ...notes].filter(Boolean).join(" ") };
}

function leftOutWords({ learnt, is_known }: Unlearnt): string {
  if (!is_known) return UNKNOWN;
  return learnt === 0 ? "" : `${count(learnt, "row")} that it has learnt from ${learnt === 1 ? "was" : "were"} left out.`;
}

function tellForgetting({ sentence, has_forgotten }: Forgetting): void {
  const told = element("measure-forgetting");
  told.textContent = sentence;
  told.className = has_forgotten ? "loud" : "";
  told.hidden = false;
}

/** By what a model can be measured, the most telling first. */
function waysOf(learnt: Learnt | undefined, kept: { name: string; rows: number }[]): Way[] {
  const { rows, heldout, config } = learnt ?? {};
  const names = kept.filter((dataset) => dataset.rows > 0 && dataset.name !== rows?.dataset).map(({ name }) => name);
  const isHeldOut = (name: string) => name === rows?.heldout;
  const ways = [...names.filter(isHeldOut), ...names.filter((name) => !isHeldOut(name))].map((name): Way => {
    const was_held_out = isHeldOut(name);
    const most = was_held_out ? MOST.heldout : MOST.other;
    return { value: `rows ${name}`, words: `${was_held_out ? "held-out rows: " : ""}“${name}”`, by: { dataset: name, most } };
  });
  if (!heldout || rows?.heldout) return ways;
  const share = config?.train.test_size ?? 0;
  const is_there = rows && share > 0 && kept.some((dataset) => dataset.name === rows.dataset && dataset.rows > 0);
  const by = is_there ? { dataset: rows.dataset, most: MOST.heldout, share } : heldout;
  return [{ value: "share", words: `the ${count(heldout.rows, "row")} that its run held out`, by }, ...ways];
}

/** The rows of a dataset, or those of them with such numbers. */
async function* rowsOf(dataset: Dataset, numbers: ReadonlySet<number> | undefined): AsyncGenerator<object, void, undefined> {
  let number = 0;
  for await (const row of rowsIn(dataset)) if (numbers?.has(number++) ?? true) yield row;
}

/** What it has learnt from, as far as that is known and still there; rows of those numbers it has not. */
async function* learntRows(learnt: Learnt | undefined, held_out?: ReadonlySet<number>): AsyncGenerator<object, void, undefined> {
  if (!learnt?.rows) return;
  let number = 0;
  for await (const row of rowsIn(await Dataset.open(learnt.rows.dataset), 0, learnt.rows.count ?? Infinity)) {
    if (!held_out?.has(number++)) yield row;
  }
}
