import type uPlot from "uplot";
import { axis, color, onTheme } from "../shell/theme.js";
import { onSize } from "../ui/sized.js";
import { lossRange, STEPS } from "./loss-lines.js";
import { plotting } from "../ui/plotting.js";
import type { Across, RunLog } from "./run-log.js";
import { looksOf, type LineLook } from "./run-looks.js";
import { smoothed } from "./smooth.js";
import { ACROSS_WORDS, type Subject } from "./subjects.js";
import type { Range } from "./zoom.js";

/** A run that is drawn. */
export interface Shown {
  name: string;
  log: RunLog;
}

/** How runs are looked at. */
export interface View {
  across: Across;
  /** From 0, as it is, to almost 1. */
  smoothing: number;
  /** Whether the losses are drawn by their logarithms. */
  is_log: boolean;
  /** The part of the horizontal axis that is shown; undefined is all of it. */
  zoom: Range | undefined;
}

/** Marks of an axis of logarithms, within each power of ten. */
const MARKS = [1, 2, 5];

interface Line {
  series: uPlot.Series;
  /** What its mark in the legend is like, beside its colour. */
  look: LineLook;
  values: (number | null)[];
}

/** A chart of one thing that runs tell. */
export class Picture {
  readonly #box: HTMLElement;
  readonly #height: number;
  readonly #on_select: (range: Range) => void;
  #plot: uPlot | undefined;
  /** What the plot was built for: other lines need another one. */
  #built = "";
  #whole: Range = [0, 1];
  #view: View | undefined;
  #redraw: () => void = () => undefined;

  /** A chart in that part of the page. `on_select` is told of the part of it that was marked. */
  constructor(box: HTMLElement, height: number, on_select: (range: Range) => void) {
    this.#box = box;
    this.#height = height;
    this.#on_select = on_select;
    onSize(box, () => this.#fit());
    onTheme(() => {
      this.#built = "";
      this.#redraw();
    });
  }

  /** From where to where the horizontal axis could go. */
  get whole(): Range {
    return this.#whole;
  }

  /** The value of the horizontal axis at a place of the window. */
  valueAt(client_x: number): number | undefined {
    const plot = this.#plot;
    return plot && plot.posToVal(client_x - plot.over.getBoundingClientRect().left, "x");
  }

  clear(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#built = "";
    this.#redraw = () => undefined;
  }

  draw(runs: Shown[], subject: Subject, view: View): void {
    this.#redraw = () => this.draw(runs, subject, view);
    // In a place that is not shown there is no room. It is drawn once there is.
    if (this.#box.clientWidth === 0) return;
    const Plot = plotting(() => this.#redraw());
    if (!Plot) return;
    this.#view = view;
    this.#whole = wholeOf(runs, view.across);
    const lines = runs.map((run, index) => linesOf(run, runs.length > 1, index, subject, view));
    const tables = runs.map(({ log }, index) => [log.across(view.across), ...lines[index]!.map(({ values }) => values)] as uPlot.AlignedData);
    const data = tables.length === 1 ? tables[0]! : Plot.join(tables);
    const built = JSON.stringify([runs.map(({ name }) => name), subject.name, view.across, view.is_log, view.smoothing > 0]);
    if (this.#plot && built === this.#built) return this.#plot.setData(data);
    this.#plot?.destroy();
    this.#built = built;
    this.#plot = new Plot(this.#options(lines.flat(), subject, view), data, this.#box);
  }

  #fit(): void {
    this.#plot?.setSize({ width: this.#box.clientWidth, height: this.#height });
    // What came while its place was hidden was not drawn.
    this.#redraw();
  }

  #options(lines: Line[], subject: Subject, { across, is_log }: View): uPlot.Options {
    const words = ACROSS_WORDS[across];
    const is_logarithmic = is_log && subject.metric === "loss";
    const y: uPlot.Scale = is_logarithmic ? { distr: 3, range: (_, low, high) => [low * 0.9, high * 1.1] } : { range: lossRange };
    return {
      width: this.#box.clientWidth,
      height: this.#height,
      padding: [12, 12, 0, 0],
      cursor: { drag: { x: true, y: false, setScale: false } },
      scales: { x: { time: false, range: () => [...(this.#view?.zoom ?? this.#whole)] as [number, number] }, y },
      axes: [
        { ...axis(), size: 32, ...(across === "steps" && { incrs: STEPS }), values: (_, marks) => marks.map((mark) => words(mark)) },
        {
          ...axis(),
          size: 58,
          values: (_, marks) => marks.map((mark) => (subject.metric === "loss" ? String(Number(mark.toPrecision(6))) : subject.words(mark))),
          ...(is_logarithmic && { splits: (_: uPlot, __: number, low: number, high: number) => logMarks(low, high), filter: (_: uPlot, marks: number[]) => marks }),
        },
      ],
      legend: { markers: markersOf(lines) },
      series: [{ label: ACROSS_NAMES[across], value: (_, value: number | null) => (value === null ? "" : words(value)) }, ...lines.map(({ series }) => series)],
      hooks: { setSelect: [(plot) => this.#selected(plot)] },
    };
  }

  #selected(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width === 0) return;
    const range: Range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#on_select(range);
  }
}

const ACROSS_NAMES: Record<Across, string> = { steps: "Step", seconds: "Time", tokens: "Tokens" };

/** A mark for each line in the legend: a ring for what has rings. */
function markersOf(lines: Line[]): uPlot.Legend.Markers {
  const colorOf = (index: number) => color(lines[index - 1]?.look.token ?? "");
  const hasRings = (index: number) => lines[index - 1]?.look.has_rings ?? false;
  return {
    width: (_, index) => (hasRings(index) ? 2 : 0),
    stroke: (_, index) => colorOf(index),
    fill: (_, index) => (hasRings(index) ? "transparent" : colorOf(index)),
  };
}

function wholeOf(runs: Shown[], across: Across): Range {
  const ends = runs.map(({ log }) => (across === "steps" ? log.total : (log.across(across).at(-1) ?? 0)));
  return [0, Math.max(...ends) || 1];
}

/** The lines of a run: what it told, that smoothed, and what was measured of held-out rows. */
function linesOf({ name, log }: Shown, is_one_of_many: boolean, index: number, subject: Subject, view: View): Line[] {
  const { told, heldout } = looksOf(index);
  const stroke = color(told.token);
  const values = subject.metric === "loss" && view.is_log ? positive(log.column("loss")) : log.column(subject.metric);
  const common = { spanGaps: true, points: { show: false }, value: (_: uPlot, value: number | null) => (value == null ? "" : subject.words(value)) };
  const label = is_one_of_many ? name : subject.name;
  const main = { ...common, ...drawn(told), label };
  const lines: Line[] = [];
  if (view.smoothing > 0 && subject.smooths) {
    lines.push({ look: told, series: { ...common, label: `${label}, as it was`, class: "raw", stroke: `${stroke}4d`, width: 1 }, values });
    lines.push({ look: told, series: main, values: smoothed(values, view.smoothing) });
  } else {
    lines.push({ look: told, series: main, values });
  }
  if (subject.metric !== "loss") return lines;
  const held = { ...common, ...drawn(heldout), label: is_one_of_many ? `${name}, held-out` : "Held-out" };
  lines.push({ look: heldout, series: held, values: view.is_log ? positive(log.column("heldout")) : log.column("heldout") });
  return lines;
}

/** A look in the words of what draws it. */
function drawn({ token, width, dash, has_rings }: LineLook): Pick<uPlot.Series, "stroke" | "width" | "dash" | "points"> {
  const stroke = color(token);
  return { stroke, width, dash: [...dash], points: { show: has_rings, size: 9, width: 2, stroke, fill: color("--card") } };
}

/** What has a logarithm. */
const positive = (values: (number | null)[]) => values.map((value) => (value !== null && value > 0 ? value : null));

/** Marks at 1, 2 and 5 times each power of ten. */
function logMarks(low: number, high: number): number[] {
  const marks = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    for (const mark of MARKS) if (mark * 10 ** power >= low && mark * 10 ** power <= high) marks.push(mark * 10 ** power);
  }
  return marks;
}
