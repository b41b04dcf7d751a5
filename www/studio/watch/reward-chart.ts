import type { StepLog } from "tabtune";
import { STEPS } from "./loss-lines.js";
import { Curve } from "./curve.js";
import { rewardWords } from "./curve-words.js";
import { show } from "../ui/dom.js";
import { fixed } from "../ui/format.js";
import { axis, color } from "../shell/theme.js";

const HEIGHT = 170;

/** What a step of a run on preferences tells beside its loss; KTO has no accuracies, and margins only where a step has both kinds. */
export type Rewards = Pick<StepLog, "rewards/margins" | "rewards/accuracies">;

const percent = (share: number) => `${Math.round(100 * share)} %`;

/** Of runs on preferences: how far apart the model holds both answers, and how many pairs it has in the person's order. */
export class RewardChart {
  #total = 1;
  readonly #curve = new Curve("rewards", 2, {
    height: HEIGHT,
    words: (steps, [margins, accuracies]) => rewardWords(steps, margins!, accuracies!),
    options: () => ({
      padding: [12, 0, 0, 0],
      scales: { x: { time: false, range: () => [0, this.#total] }, y: {}, share: { range: () => [0, 1] } },
      axes: [
        { ...axis(), size: 32, incrs: STEPS },
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
    }),
  });

  clear(): void {
    this.#curve.clear();
    show("rewards-part", false);
  }

  /** Begins anew for a run of that many steps. The chart appears with the first value. */
  begin(total: number): void {
    this.clear();
    this.#total = total;
  }

  add(step: number, log: StepLog & Rewards): void {
    const found = [log["rewards/margins"], log["rewards/accuracies"]];
    if (found.every((value) => value === undefined)) return;
    if (!this.#curve.is_built) {
      show("rewards-part", true);
      this.#curve.build();
    }
    found.forEach((value, column) => value !== undefined && this.#curve.set(column, step, value));
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    this.#curve.goBack(step);
  }
}
