import type { Message } from "tabtune";
import { textOf } from "../work/question.js";

/** What rows say: how to write, which of two answers is better, or whether an answer is good. */
export type RowKind = "examples" | "pairs" | "ratings";

/** A chat up to an answer; its text for a model without a chat template. */
type Prompt = Message[] | string;
/** An answer: one turn, or a text. */
type Answer = Message[] | string;

/** Two answers to the same, of which one was picked: what DPO and its kin learn from, in TRL's names. */
export interface PairRow {
  prompt: Prompt;
  chosen: Answer;
  rejected: Answer;
}

/** An answer that was called good or bad: what KTO learns from, in TRL's names. */
export interface RatingRow {
  prompt: Prompt;
  completion: Answer;
  label: boolean;
}

export function pairRow(turns: Message[], chosen: string, rejected: string, has_chat_template: boolean): PairRow {
  const write = has_chat_template ? turnOf : (text: string) => text;
  return { prompt: promptIn(turns, has_chat_template), chosen: write(chosen), rejected: write(rejected) };
}

export function ratingRow(turns: Message[], answer: string, label: boolean, has_chat_template: boolean): RatingRow {
  return { prompt: promptIn(turns, has_chat_template), completion: has_chat_template ? turnOf(answer) : answer, label };
}

export function kindOf(row: object): RowKind {
  if ("chosen" in row) return "pairs";
  return "completion" in row && "label" in row && typeof row.label === "boolean" ? "ratings" : "examples";
}

/** All that a row says, in whatever order its parts are written. */
export function sayingOf(row: object): string {
  return JSON.stringify(sorted(row));
}

/** Whether two rows say the same. */
export function isSameRow(one: object, other: object): boolean {
  return sayingOf(one) === sayingOf(other);
}

function promptIn(turns: Message[], has_chat_template: boolean): Prompt {
  return has_chat_template ? turns.map(({ role, content }) => ({ role, content })) : textOf(turns);
}

function turnOf(content: string): Message[] {
  return [{ role: "assistant", content }];
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, part]) => [name, sorted(part)]);
}
