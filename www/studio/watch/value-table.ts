import { heading, make } from "../ui/dom.js";
import { duration } from "../ui/format.js";
import type { Metric, RunLog } from "./run-log.js";
import { LOSS, SECOND, type Subject } from "./subjects.js";

/** Rows of the table, which are taken from the whole run. */
const MOST = 40;

const COLUMNS: Subject[] = [
  LOSS,
  { ...LOSS, metric: "heldout", name: "Held-out" },
  ...Object.values(SECOND),
  { metric: "seconds", name: "Time", smooths: false, words: duration },
  { metric: "tokens", name: "Tokens", smooths: false, words: (tokens) => tokens.toLocaleString("en") },
];

/** What a run told as a table: the curves for those who read rather than see them. */
export function tableOf(log: RunLog): HTMLElement[] {
  const head = make("tr", "", ...["Step", ...COLUMNS.map(({ name }) => name)].map((name) => heading("col", name)));
  const rows = placesOf(log).map((place) => {
    const cells = COLUMNS.map(({ metric, words }) => make("td", "", cellOf(log, metric, place, words)));
    return make("tr", "", heading("row", log.steps[place]!.toLocaleString("en")), ...cells);
  });
  return [make("thead", "", head), make("tbody", "", ...rows)];
}

/** Evenly many rows, with the first and the last, and all in which held-out rows were measured. */
function placesOf(log: RunLog): number[] {
  const every = Math.max(1, Math.ceil(log.steps.length / MOST));
  const last = log.steps.length - 1;
  return log.steps.flatMap((_, place) => (place % every === 0 || place === last || log.column("heldout")[place] !== null ? [place] : []));
}

function cellOf(log: RunLog, metric: Metric, place: number, words: (value: number) => string): string {
  const value = log.column(metric)[place];
  return value == null ? "–" : words(value);
}
