import type uPlot from "uplot";
import type { Lengths } from "tabtune";
import { element } from "./dom.js";
import { axis, color, FONT, onTheme } from "../shell/theme.js";
import { plotting } from "./plotting.js";
import { onSize } from "./sized.js";

const HEIGHT = 180;

/** How long the rows are, as bars, with a line where they are cut. */
export class Histogram {
  readonly #box = element("lengths");
  #plot: uPlot | undefined;
  #shown: { lengths: Lengths; max_length: number } | undefined;

  constructor() {
    onSize(this.#box, () => this.#plot?.setSize({ width: this.#box.clientWidth, height: HEIGHT }));
    onTheme(() => this.#build());
  }

  show(lengths: Lengths, max_length: number): void {
    this.#shown = { lengths, max_length };
    this.#build();
  }

  #build(): void {
    if (!this.#shown) return;
    const Plot = plotting(() => this.#build());
    if (!Plot) return;
    const { lengths, max_length } = this.#shown;
    const { rows, width, longest } = lengths;
    // A limit far behind the longest row would squeeze the bars together, and says nothing.
    const end = max_length < 1.5 * longest ? Math.max(longest + width, 1.05 * max_length) : longest + width;
    const whole = (_: uPlot, values: number[]) => values.map((value) => (Number.isInteger(value) ? value.toLocaleString("en") : ""));
    this.#plot?.destroy();
    this.#plot = new Plot(
      {
        width: this.#box.clientWidth,
        height: HEIGHT,
        padding: [12, 12, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        scales: { x: { time: false, range: () => [0, end] }, y: { range: (_, _low, high) => [0, Math.max(1, 1.05 * high)] } },
        axes: [
          {
            ...axis(),
            size: 30,
            grid: { show: false },
            values: whole,
            label: "Tokens in a row",
            labelSize: 16,
            labelGap: 0,
            labelFont: FONT,
          },
          { ...axis(), size: 44, values: whole },
        ],
        series: [
          {},
          {
            label: "Rows",
            fill: color("--accent"),
            width: 0,
            paths: Plot.paths.bars!({ size: [0.86, 60] }),
            points: { show: false },
          },
        ],
        hooks: { draw: [(plot) => drawLine(plot, max_length, end)] },
      },
      [rows.map((_, index) => (index + 0.5) * width), rows],
      this.#box,
    );
  }
}

/** The line at which rows are cut. */
function drawLine(plot: uPlot, at: number, end: number): void {
  if (at > end) return;
  const { ctx, bbox } = plot;
  const x = Math.round(plot.valToPos(at, "x", true));
  ctx.save();
  ctx.strokeStyle = color("--second");
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.restore();
}
