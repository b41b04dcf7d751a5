/** How a line of a chart looks. */
export interface LineLook {
  /** The name of its colour in the style sheet. */
  token: string;
  width: number;
  /** Lengths of what is drawn and what is left out, in turn. */
  dash: readonly number[];
  /** Whether each value is a ring on the line. */
  has_rings: boolean;
}

/** A colour for each run, and dashes for those who do not tell colours apart; the first is the run that goes on. */
const RUNS = [
  { token: "--accent", dash: [] },
  { token: "--run-1", dash: [8, 4] },
  { token: "--run-2", dash: [14, 4] },
  { token: "--run-3", dash: [10, 3, 2, 3] },
  { token: "--run-4", dash: [12, 3, 2, 3, 2, 3] },
];

/** Runs that can be laid over the one that goes on. */
export const MOST_OTHERS = RUNS.length - 1;

/** The lines of a run. What is measured of held-out rows is thin and dotted with rings, whatever its colour. */
export function looksOf(index: number): { told: LineLook; heldout: LineLook } {
  const { token, dash } = RUNS[index]!;
  return {
    told: { token, dash, width: 2, has_rings: false },
    heldout: { token: index === 0 ? "--second" : token, dash: [1.5, 3.5], width: 1.5, has_rings: true },
  };
}
