import { promptOfRow } from "../chat/blind-prompts.js";
import { kindOf, sayingOf } from "../chat/preference-rows.js";
import { pairGiven, type KeptPair } from "./given.js";

/** Rows to measure by. */
export interface Unlearnt {
  /** As {@link Trainer.evaluate} takes them. */
  rows: object[];
  /** How many there were to choose from. */
  of: number;
  /** How many were left out because they were learnt. */
  learnt: number;
  /** Whether there was anything to know the learnt ones by. */
  is_known: boolean;
}

/**
 * Those of `rows`, as they are kept, that none of the `learnt` ones says or asks, spread evenly where they are more than `most`: whatever
 * was learnt is no test. Answers that were called bad are none either, because a better model finds them less likely.
 */
export async function unlearntRows(rows: AsyncIterable<object>, learnt: AsyncIterable<object>, most: number): Promise<Unlearnt> {
  const known = new Set<string | undefined>();
  for await (const row of learnt) for (const saying of sayingsOf(row)) known.add(saying);
  const all: object[] = [];
  let left_out = 0;
  for await (const row of rows) {
    if (kindOf(row) === "ratings" && !(row as { label: boolean }).label) continue;
    if (sayingsOf(row).some((saying) => known.has(saying))) left_out += 1;
    else all.push(row);
  }
  const count = Math.min(most, all.length);
  const chosen = Array.from({ length: count }, (_, number) => asGiven(all[Math.floor((number * all.length) / count)]!));
  return { rows: chosen, of: all.length, learnt: left_out, is_known: known.size > 0 };
}

/** What makes two rows the same for a test: all that they say, or what they ask. */
function sayingsOf(row: object): string[] {
  const asked = "text" in row ? undefined : promptOfRow(row);
  return [sayingOf(row), ...(asked === undefined ? [] : [`asks ${asked}`])];
}

/** A kept row as rows are given: a question and its answer are told as such by Alpaca's names, and a rating is its answer. */
function asGiven(row: object): object {
  const { pair, label: _, ...rest } = row as Record<string, unknown>;
  if (pair !== true) return rest;
  return pairGiven(rest as unknown as KeptPair);
}
