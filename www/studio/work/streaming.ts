import type { GenerateResult } from "tabtune";
import { make } from "../ui/dom.js";
import { count } from "../ui/format.js";

/** In tokens. */
export const LONGEST_ANSWER = 256;

/** An answer, piece by piece. */
export type Answer = AsyncGenerator<string, GenerateResult, undefined>;

/** Writes an answer into the page as it comes. Resolves to all of it. */
export async function streamInto(target: HTMLElement, answer: Answer): Promise<string> {
  target.setAttribute("aria-busy", "true");
  try {
    let piece;
    while (!(piece = await answer.next()).done) target.append(piece.value);
    if (piece.value.stop === "length") target.append(make("span", "hint", ` … cut off after ${count(LONGEST_ANSWER, "token")}`));
    return piece.value.text;
  } finally {
    target.setAttribute("aria-busy", "false");
  }
}

/** All of an answer, once it is there. */
export async function wholeOf(answer: Answer): Promise<string> {
  let piece;
  do piece = await answer.next();
  while (!piece.done);
  return piece.value.text;
}
