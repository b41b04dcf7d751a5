import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { curveWords } from "./curve-words.js";
import { element, show } from "./dom.js";
import { axis, color, onTheme } from "./theme.js";

const HEIGHT = 260;

/** The loss by step: a line for the training rows, dots for the held-out ones. */
export class Chart {
  readonly #box = element("chart");
  readonly #steps: number[] = [];
  readonly #losses: (number | null)[] = [];
  readonly #heldout: (number | null)[] = [];
  #plot: uPlot | undefined;
  #total = 1;
  #frame = 0;

  constructor() {
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#box.clientWidth, height: HEIGHT })).observe(this.#box);
    onTheme(() => this.#plot && this.#build());
  }

  /** Takes the last run's curve away. */
  clear(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    show("chart-empty", true);
  }

  /** Begins an empty chart for a run of that many steps. */
  begin(total: number): void {
    this.#total = total;
    this.#steps.length = this.#losses.length = this.#heldout.length = 0;
    show("chart-empty", false);
    this.#build();
  }

  addLoss(step: number, loss: number): void {
    this.#losses[this.#place(step)] = loss;
    this.#draw();
  }

  addHeldout(step: number, loss: number): void {
    this.#heldout[this.#place(step)] = loss;
    this.#draw();
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    while ((this.#steps.at(-1) ?? step) > step) for (const column of [this.#steps, this.#losses, this.#heldout]) column.pop();
    this.#draw();
  }

  #place(step: number): number {
    if (this.#steps.at(-1) !== step) {
      this.#steps.push(step);
      this.#losses.push(null);
      this.#heldout.push(null);
    }
    return this.#steps.length - 1;
  }

  #draw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#plot?.setData([this.#steps, this.#losses, this.#heldout]);
      this.#box.setAttribute("aria-label", curveWords(this.#steps, this.#losses, this.#heldout));
    });
  }

  #build(): void {
    // Away from the curve the legend has names only.
    const value = (_: uPlot, loss: number | null) => loss?.toFixed(3) ?? "";
    this.#plot?.destroy();
    this.#plot = new uPlot(
      {
        width: this.#box.clientWidth,
        height: HEIGHT,
        padding: [12, 12, 0, 0],
        scales: {
          x: { time: false, range: () => [0, this.#total] },
          y: { range: (_, low, high) => [Math.max(0, low - 0.05 * (high - low || 1)), high + 0.05 * (high - low || 1)] },
        },
        axes: [{ ...axis(), size: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] }, { ...axis(), size: 40 }],
        legend: { markers: { width: 0, fill: (_, index) => color(index === 1 ? "--accent" : "--second") } },
        series: [
          { label: "Step", value: (_, step: number | null) => step?.toString() ?? "" },
          { label: "Loss", stroke: color("--accent"), width: 2, points: { show: false }, spanGaps: true, value },
          {
            label: "Held-out",
            stroke: color("--second"),
            width: 1.5,
            dash: [4, 4],
            spanGaps: true,
            points: { show: true, size: 8, fill: color("--second") },
            value,
          },
        ],
      },
      [this.#steps, this.#losses, this.#heldout],
      this.#box,
    );
  }
}
