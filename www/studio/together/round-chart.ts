import type { Round } from "tabtune/federated";
import { lossRange, lossSeries, STEPS } from "../watch/loss-lines.js";
import { Curve } from "../watch/curve.js";
import { roundWords } from "../watch/curve-words.js";
import { show } from "../ui/dom.js";
import { axis, color } from "../shell/theme.js";

const HEIGHT = 190;

/** The loss by round: after one's own steps, and of what all have made together where rows are held out. */
export class RoundChart {
  #rounds = 1;
  readonly #curve = new Curve("together-chart", 2, {
    height: HEIGHT,
    words: (rounds, [own, together]) => roundWords(rounds, own!, together!),
    options: () => ({
      padding: [12, 12, 0, 0],
      scales: { x: { time: false, range: () => [0, this.#rounds] }, y: { range: lossRange } },
      axes: [{ ...axis(), size: 32, incrs: STEPS }, { ...axis(), size: 40 }],
      legend: { markers: { width: 0, fill: (_, index) => color(index === 1 ? "--accent" : "--second") } },
      series: [
        { label: "Round", value: (_, round: number | null) => round?.toString() ?? "" },
        // The first round is a line of no length, which a point shows.
        ...lossSeries("After your steps", "All together").map((line) => ({ ...line, points: { show: true, size: 7, fill: line.stroke as string } })),
      ],
    }),
  });

  clear(): void {
    this.#curve.clear();
    show("together-picture", false);
  }

  /** Begins anew for so many rounds. The chart appears with the first value. */
  begin(rounds: number): void {
    this.clear();
    this.#rounds = rounds;
  }

  /** A round is over. What it began with is what all had made by the one before. */
  add({ number, loss_before, loss_after, is_held_out }: Round): void {
    this.#curve.goBack(number - 1);
    if (is_held_out) this.#set(1, number - 1, loss_before);
    this.#set(0, number, loss_after);
  }

  /** All together have made this of a round. */
  addTogether(number: number, loss: number): void {
    this.#set(1, number, loss);
  }

  #set(column: number, round: number, loss: number): void {
    if (!this.#curve.is_built) {
      show("together-picture", true);
      this.#curve.build();
    }
    this.#curve.set(column, round, loss);
  }
}
