import type uPlot from "uplot";
import { Curve } from "./curve.js";
import { curveWords } from "./curve-words.js";
import { show } from "../ui/dom.js";
import { axis, color } from "../shell/theme.js";

const HEIGHT = 260;

/** Steps that an axis may be divided by. */
export const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000];

/** A loss as the legend has it. Away from the curve it has names only. */
const value = (_: uPlot, loss: number | null) => loss?.toFixed(3) ?? "";

/** A little room above and below the losses. */
export function lossRange(_: uPlot, low: number, high: number): [number, number] {
  const room = 0.05 * (high - low || 1);
  return [Math.max(0, low - room), high + room];
}

/** The two lines of a chart of losses: what is learnt from, and what is only measured. */
export function lossSeries(learnt: string, measured: string): uPlot.Series[] {
  const [first, second] = [color("--accent"), color("--second")];
  return [
    { label: learnt, stroke: first, width: 2, points: { show: false }, spanGaps: true, value },
    { label: measured, stroke: second, width: 1.5, dash: [4, 4], spanGaps: true, points: { show: true, size: 8, fill: second }, value },
  ];
}

/** The loss by step: a line for the training rows, dots for the held-out ones. */
export class Chart {
  #total = 1;
  readonly #curve = new Curve("chart", 2, {
    height: HEIGHT,
    words: (steps, [losses, heldout]) => curveWords(steps, losses!, heldout!),
    options: () => ({
      padding: [12, 12, 0, 0],
      scales: { x: { time: false, range: () => [0, this.#total] }, y: { range: lossRange } },
      axes: [{ ...axis(), size: 32, incrs: STEPS }, { ...axis(), size: 40 }],
      legend: { markers: { width: 0, fill: (_, index) => color(index === 1 ? "--accent" : "--second") } },
      series: [{ label: "Step", value: (_, step: number | null) => step?.toString() ?? "" }, ...lossSeries("Loss", "Held-out")],
    }),
  });

  /** Takes the last run's curve away. */
  clear(): void {
    this.#curve.clear();
    show("chart-empty", true);
  }

  /** Begins an empty chart for a run of that many steps. */
  begin(total: number): void {
    this.#total = total;
    this.#curve.clear();
    show("chart-empty", false);
    this.#curve.build();
  }

  addLoss(step: number, loss: number): void {
    this.#curve.set(0, step, loss);
  }

  addHeldout(step: number, loss: number): void {
    this.#curve.set(1, step, loss);
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    this.#curve.goBack(step);
  }
}
