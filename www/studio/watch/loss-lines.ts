import type uPlot from "uplot";
import { color } from "../shell/theme.js";

/** Steps that an axis may be divided by. */
export const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000];

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
