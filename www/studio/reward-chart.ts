import type { StepLog } from "tabtune";
import uPlot from "uplot";
import { Columns } from "./columns.js";
import { rewardWords } from "./curve-words.js";
import { element, show } from "./dom.js";
import { fixed } from "./format.js";
import { axis, color, onTheme } from "./theme.js";

const HEIGHT = 170;

/** What a step of a run on preferences tells beside its loss; KTO has no accuracies, and margins only where a step has both kinds. */
export type Rewards = Pick<StepLog, "rewards/margins" | "rewards/accuracies">;

/** Of runs on preferences: how far apart the model holds both answers, and how many pairs it has in the person's order. */
export class RewardChart {
  readonly #box = element("rewards");
  readonly #columns = new Columns(2);
  #plot: uPlot | undefined;
  #total = 1;
  #frame = 0;

  constructor() {
    new ResizeObserver(() => this.#plot?.setSize({ width: this.#box.clientWidth, height: HEIGHT })).observe(this.#box);
    onTheme(() => this.#plot && this.#build());
  }

  clear(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    show("rewards-part", false);
  }

  /** Begins anew for a run of that many steps. The chart appears with the first value. */
  begin(total: number): void {
    this.clear();
    this.#total = total;
    this.#columns.clear();
  }

  add(step: number, log: StepLog & Rewards): void {
    const found = [log["rewards/margins"], log["rewards/accuracies"]];
    found.forEach((value, column) => value !== undefined && this.#columns.set(column, step, value));
    if (found.some((value) => value !== undefined)) this.#draw();
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    this.#columns.goBack(step);
    if (this.#plot) this.#draw();
  }

  #draw(): void {
    if (!this.#plot) {
      show("rewards-part", true);
      this.#build();
    }
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#plot?.setData(this.#columns.all);
      const [margins, accuracies] = this.#columns.values;
      this.#box.setAttribute("aria-label", rewardWords(this.#columns.steps, margins!, accuracies!));
    });
  }

  #build(): void {
    this.#plot?.destroy();
    const percent = (share: number) => `${Math.round(100 * share)} %`;
    this.#plot = new uPlot(
      {
        width: this.#box.clientWidth,
        height: HEIGHT,
        padding: [12, 0, 0, 0],
        scales: { x: { time: false, range: () => [0, this.#total] }, y: {}, share: { range: () => [0, 1] } },
        axes: [
          { ...axis(), size: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
          { ...axis(), size: 48 },
          { ...axis(), grid: { show: false }, scale: "share", side: 1, size: 48, values: (_, shares) => shares.map(percent) },
        ],
        legend: { markers: { width: 0, fill: (_, index) => color(index === 1 ? "--accent" : "--third") } },
        series: [
          { label: "Step", value: (_, step: number | null) => step?.toString() ?? "" },
          {
            label: "Margin",
            stroke: color("--accent"),
            width: 2,
            points: { show: false },
            spanGaps: true,
            value: (_, margin: number | null) => (margin === null ? "" : fixed(margin)),
          },
          {
            label: "In your order",
            scale: "share",
            stroke: color("--third"),
            width: 1.5,
            dash: [4, 4],
            points: { show: false },
            spanGaps: true,
            value: (_, share: number | null) => (share === null ? "" : percent(share)),
          },
        ],
      },
      this.#columns.all,
      this.#box,
    );
  }
}
