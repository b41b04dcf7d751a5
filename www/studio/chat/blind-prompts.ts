import type { Dataset } from "tabtune";
import type { Learnt } from "../library/learnt.js";
import { questionOf } from "../work/question.js";
import { rowsIn } from "../data/stored-rows.js";

/** Questions of one test. */
export const MOST = 10;

/** The questions that a person wrote, one a line; the same is asked once. */
export function promptsIn(text: string): string[] {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return [...new Set(lines)].slice(0, MOST);
}

/** What a row asks, where that is a single question: on one line, as a person would write it. */
export function promptOfRow(row: object): string | undefined {
  const { prompt } = row as { prompt?: unknown };
  if (Array.isArray(prompt) && prompt.filter(({ role }) => role !== "system").length !== 1) return undefined;
  return questionOf(row)?.text.trim().replace(/\s+/g, " ") || undefined;
}

/** The latest questions among the picked rows that none of the rows asks that were learnt. */
export async function promptsNotLearnt(picked: Dataset, learnt: Learnt["rows"], open: (name: string) => Promise<Dataset>): Promise<string[]> {
  const known = new Set<string | undefined>();
  if (learnt) for await (const row of rowsIn(await open(learnt.dataset), 0, learnt.count ?? Infinity)) known.add(promptOfRow(row));
  const found: string[] = [];
  for await (const row of rowsIn(picked)) {
    const prompt = promptOfRow(row);
    if (prompt !== undefined && !known.has(prompt)) found.push(prompt);
  }
  return [...new Set(found)].slice(-MOST);
}
