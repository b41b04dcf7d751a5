import type { StepLog } from "tabtune";
import { Choice } from "../ui/choice.js";
import { element, show, write } from "../ui/dom.js";
import { plotting } from "../ui/plotting.js";
import { stored } from "../ui/stored.js";
import { curveWords, valueWords } from "./curve-words.js";
import { beginGestures, zoomIn } from "./gestures.js";
import { LogKeeper, RunLogs } from "./logs.js";
import { OtherRuns, type Other } from "./others.js";
import { Picture, type Shown, type View } from "./picture.js";
import { RunLog, type Across } from "./run-log.js";
import { ACROSS_WORDS, LOSS, SECOND, type SecondName } from "./subjects.js";
import { tableOf } from "./value-table.js";
import type { Range } from "./zoom.js";

const HEIGHTS = { loss: 260, second: 150 };

/** How a person looks at curves, kept for the next visit. */
interface Habits {
  version: 1;
  across: Across;
  smoothing: number;
  is_log: boolean;
  second: SecondName;
}

const HABITS = "tabtune:curves";

const USUAL: Habits = { version: 1, across: "steps", smoothing: 0.6, is_log: false, second: "learning_rate" };

/** The run that is watched; without an id it is not kept. */
type Watched = Shown & { id: string | undefined };

/** How often curves of that many rows are drawn, in milliseconds. Beyond what a screen shows there is no hurry. */
const pauseOf = (rows: number) => (rows > 2000 ? 500 : 100);

/** The curves of a run, beside those of earlier ones: loss, and one of what else its steps tell. */
export class Curves {
  readonly #habits: Habits;
  readonly #keeper = new LogKeeper();
  readonly #loss = new Picture(element("chart"), HEIGHTS.loss, (range) => this.#zoom(range));
  readonly #second = new Picture(element("second-chart"), HEIGHTS.second, (range) => this.#zoom(range));
  readonly #others = new OtherRuns(element("other-runs"), () => void this.#load());
  /** The logs of the others that are chosen. */
  #laid: (Shown & { id: string })[] = [];
  #run: Watched | undefined;
  #range: Range | undefined;
  #drawing: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const kept = stored.get<Habits>(HABITS);
    this.#habits = kept && isUsable(kept) ? kept : { ...USUAL };
    this.#begin();
  }

  /** Takes the last run's curves away. What draws the next ones is fetched meanwhile. */
  clear(): void {
    this.#follow(undefined);
    plotting(() => undefined);
  }

  /** Begins empty curves of a run. What has no id is not kept. */
  begin(total: number, run?: Other): void {
    this.#follow({ id: run?.id, name: run?.name ?? "This run", log: new RunLog(total) });
  }

  add(log: StepLog): void {
    this.#run?.log.add(log);
    this.#changed();
  }

  addHeldout(step: number, loss: number): void {
    this.#run?.log.addHeldout(step, loss);
    this.#changed();
  }

  /** Shows the curves of a run that is over, if they are kept. */
  async open({ id, name }: Other): Promise<void> {
    const log = await RunLogs.get(id).catch(() => undefined);
    if (log) this.#follow({ id, name, log });
  }

  /** Lists the runs that could be laid over this one, of those that are there. */
  async refresh(runs: Other[]): Promise<void> {
    await this.#keeper.flush();
    const kept = new Set(await RunLogs.ids().catch(() => []));
    this.#others.show(runs.filter(({ id }) => kept.has(id) && id !== this.#run?.id).map(({ id, name }) => ({ id, name })));
  }

  #follow(run: Watched | undefined): void {
    this.#run = run;
    this.#range = undefined;
    // It is not laid over itself.
    this.#laid = this.#laid.filter(({ id }) => id !== run?.id);
    for (const picture of [this.#loss, this.#second]) picture.clear();
    element("chart").setAttribute("aria-label", "Loss by step");
    show("chart-empty", run === undefined);
    // The keyboard does not stop at a curve that is not there.
    for (const id of ["curve-tools", "loss-part", "second-part"]) show(id, run !== undefined);
    if (run?.id !== undefined) this.#keeper.follow(run.id, run.log);
    this.#draw();
  }

  #changed(): void {
    if (this.#run?.id !== undefined) this.#keeper.later();
    this.#later();
  }

  #begin(): void {
    const { smoothing, is_log } = this.#habits;
    const across = new Choice("across", () => {
      this.#range = undefined;
      this.#set({ across: across.value as Across });
    }, "curves");
    const second = new Choice("second", () => this.#set({ second: second.value as SecondName }), "curves");
    [across.value, second.value] = [this.#habits.across, this.#habits.second];
    const slider = element<HTMLInputElement>("smoothing");
    slider.valueAsNumber = smoothing;
    slider.addEventListener("input", () => this.#set({ smoothing: slider.valueAsNumber }));
    const log = element<HTMLInputElement>("log-loss");
    log.checked = is_log;
    log.addEventListener("change", () => this.#set({ is_log: log.checked }));
    const target = this.#target();
    for (const id of ["chart", "second-chart"]) beginGestures(element(id).parentElement!, target);
    element("zoom-in").addEventListener("click", () => zoomIn(target, true));
    element("zoom-out").addEventListener("click", () => zoomIn(target, false));
    element("zoom-all").addEventListener("click", () => {
      target.zoom(undefined);
      element("zoom-in").focus();
    });
    const table = element("as-table");
    table.addEventListener("click", () => {
      const is_open = table.getAttribute("aria-expanded") === "true";
      table.setAttribute("aria-expanded", String(!is_open));
      show("values-part", !is_open);
      this.#draw();
    });
  }

  #target() {
    const curves = this;
    return {
      get range(): Range {
        return curves.#range ?? curves.#loss.whole;
      },
      get whole(): Range {
        return curves.#loss.whole;
      },
      valueAt: (client_x: number) => this.#loss.valueAt(client_x),
      zoom: (range: Range | undefined) => this.#zoom(range),
    };
  }

  #zoom(range: Range | undefined): void {
    const [low, high] = this.#loss.whole;
    this.#range = range && range[0] <= low && range[1] >= high ? undefined : range;
    this.#draw();
  }

  #set(change: Partial<Habits>): void {
    Object.assign(this.#habits, change);
    stored.set(HABITS, this.#habits);
    this.#draw();
  }

  /** Gets the logs of the others that are chosen. */
  async #load(): Promise<void> {
    const { chosen } = this.#others;
    const logs = await Promise.all(chosen.map(({ id }) => RunLogs.get(id).catch(() => undefined)));
    this.#laid = chosen.flatMap(({ id, name }, index) => (logs[index] ? [{ id, name, log: logs[index] }] : []));
    this.#draw();
  }

  #later(): void {
    this.#drawing ??= setTimeout(() => this.#draw(), pauseOf(this.#run?.log.steps.length ?? 0));
  }

  #draw(): void {
    clearTimeout(this.#drawing);
    this.#drawing = undefined;
    show("zoom-all", this.#range !== undefined);
    write("zoom-state", this.#range ? shownWords(this.#range, this.#habits.across) : "");
    write("smoothing-value", this.#habits.smoothing === 0 ? "off" : `${Math.round(100 * this.#habits.smoothing)} %`);
    if (!this.#run) return;
    const { across, smoothing, is_log } = this.#habits;
    const view: View = { across, smoothing, is_log, zoom: this.#range };
    const runs = [this.#run, ...this.#laid];
    const second = SECOND[this.#habits.second];
    this.#loss.draw(runs, LOSS, view);
    this.#second.draw(runs, second, view);
    this.#tell();
  }

  /** The same for those who do not see the curves. */
  #tell(): void {
    const { log } = this.#run!;
    const others = this.#laid.map(({ name, log }) => `“${name}”: ${curveWords(log.steps, log.column("loss"), log.column("heldout"))}`);
    element("chart").setAttribute("aria-label", [curveWords(log.steps, log.column("loss"), log.column("heldout")), ...others].join(" "));
    const { metric, short, words } = SECOND[this.#habits.second];
    element("second-chart").setAttribute("aria-label", valueWords(short, log.steps, log.column(metric), words));
    if (!element("values-part").hidden) element("values").replaceChildren(...tableOf(log));
  }
}

/** Whether this version of the page can use what was kept. */
function isUsable({ version, across, second, smoothing, is_log }: Habits): boolean {
  return version === 1 && across in ACROSS_WORDS && second in SECOND && typeof smoothing === "number" && typeof is_log === "boolean";
}

/** Which part is seen, in words. */
function shownWords([low, high]: Range, across: Across): string {
  const words = ACROSS_WORDS[across];
  const [from, to] = [words(Math.round(low)), words(Math.round(high))];
  return across === "seconds" ? `From ${from} to ${to}.` : `${across === "steps" ? "Steps" : "Tokens"} ${from} to ${to}.`;
}
