import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { Columns } from "./columns.js";
import { curveWords } from "./curve-words.js";
import { element, show } from "./dom.js";
import { axis, color, onTheme } from "./theme.js";

const HEIGHT = 260;

/** The loss by step: a line for the training rows, dots for the held-out ones. */
export class Chart {
  readonly #box = element("chart");
  /** The losses, and those of held-out rows. */
  readonly #columns = new Columns(2);
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
    this.#columns.clear();
    show("chart-empty", false);
    this.#build();
  }

  addLoss(step: number, loss: number): void {
    this.#columns.set(0, step, loss);
    this.#draw();
  }

  addHeldout(step: number, loss: number): void {
    this.#columns.set(1, step, loss);
    this.#draw();
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    this.#columns.goBack(step);
    this.#draw();
  }

  #draw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#plot?.setData(this.#columns.all);
      const [losses, heldout] = this.#columns.values;
      this.#box.setAttribute("aria-label", curveWords(this.#columns.steps, losses!, heldout!));
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
      this.#columns.all,
      this.#box,
    );
  }
}
