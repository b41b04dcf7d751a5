import type { RowScore } from "../protocol.js";
import { progressOf, reasonOf, type EvaluationHost } from "./host.js";
import type { FailedRow } from "./types.js";

/** What is looked at: rows of a dataset, or rows that are given. */
export type Texts = { dataset: string; first: number; count?: number } | { rows: readonly unknown[]; fits?: (row: unknown) => boolean };

/** The scores of rows with what was learnt and without. */
export interface Scores {
  /** By rows, and then by the texts of a row: one, or of pairs two. */
  base: RowScore[][];
  tuned: RowScore[][];
  failed: FailedRow[];
}

/** Scores rows of so many texts each; what cannot be scored is left out and told. */
export async function scored(host: EvaluationHost, texts: Texts, each: 1 | 2): Promise<Scores> {
  const failed: FailedRow[] = [];
  const first = "dataset" in texts ? texts.first : 0;
  const tell = progressOf(host.report, "dataset" in texts ? texts.dataset : "");
  /** The scores of one model; rows that are given and fail are left out of `places`. */
  const pass = async (adapter: boolean, places: number[]): Promise<RowScore[][]> => {
    const score = async (part: number[]): Promise<RowScore[][]> => {
      const asked = "dataset" in texts ? texts : { rows: part.map((place) => texts.rows[place]) };
      try {
        const scores = await host.ask("score", { texts: asked, adapter, train: host.train }, (event) => {
          const { status, loaded = 0, total = 0 } = event;
          // What was learnt is looked at afterwards, in a second pass.
          if (status === "score") tell(adapter ? total + loaded : loaded, 2 * total);
          else host.report(event);
        });
        return grouped(host, scores, each, "dataset" in texts ? undefined : part.length);
      } catch (thrown) {
        const reason = reasonOf(thrown);
        if (reason === undefined || "dataset" in texts) throw thrown;
        if (part.length > 1) {
          const half = part.length >> 1;
          return [...(await score(part.slice(0, half))), ...(await score(part.slice(half)))];
        }
        failed.push({ row: part[0]!, reason });
        return [];
      }
    };
    return score(places);
  };
  const all: number[] = [];
  if ("rows" in texts) {
    for (const [place, row] of texts.rows.entries()) {
      if (texts.fits?.(row) ?? true) all.push(place);
      else failed.push({ row: place, reason: "is of another kind than the rows before it: texts, pairs and questions go by themselves" });
    }
  }
  const base = await pass(false, all);
  const bad = new Set(failed.map(({ row }) => row));
  const good = all.filter((place) => !bad.has(place));
  const tuned = good.length === 0 && !("dataset" in texts) ? [] : await pass(true, good);
  if (tuned.length !== base.length) throw host.fail("internal", `${base.length} rows were scored, and then ${tuned.length}`);
  const kept: Scores = { base: [], tuned: [], failed };
  for (const [index, before] of base.entries()) {
    const after = tuned[index]!;
    const reason = problemOf([...before, ...after]);
    if (reason !== undefined) {
      failed.push({ row: good[index] ?? first + index, reason });
      continue;
    }
    kept.base.push(before);
    kept.tuned.push(after);
  }
  failed.sort((one, other) => one.row - other.row);
  return kept;
}

function grouped({ fail }: EvaluationHost, scores: RowScore[], each: number, rows: number | undefined): RowScore[][] {
  if (scores.length % each !== 0 || (rows !== undefined && scores.length !== rows * each)) {
    throw fail("internal", `${scores.length} scores came of ${rows ?? "some"} rows with ${each} texts each`);
  }
  return Array.from({ length: scores.length / each }, (_, row) => scores.slice(row * each, (row + 1) * each));
}

/** Why the scores of a row say nothing. */
function problemOf(scores: RowScore[]): string | undefined {
  if (scores.some(({ tokens }) => tokens === 0)) return "nothing in it is learnt from: it has no labelled token within max_length";
  if (scores.some(({ logp }) => !Number.isFinite(logp))) return "how likely it is is not finite";
  return undefined;
}
