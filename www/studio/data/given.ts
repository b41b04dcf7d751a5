import type { Message } from "tabtune";

/** A question and its answer, as messages. */
export interface KeptPair {
  prompt: Message[];
  completion: Message[];
}

/**
 * A kept row as rows are given to be imported, so that the same is kept again; nothing where that cannot be said. That a
 * question and its answer are a pair, which a model without a chat template reads as text, is told by Alpaca's names.
 */
export function givenOf(row: object): object | undefined {
  const { pair, ...rest } = row as Record<string, unknown>;
  if (pair !== true) return rest;
  if ("label" in rest) return undefined;
  const asked = rest as unknown as KeptPair;
  return asked.completion.length === 1 ? pairGiven(asked) : undefined;
}

/** A kept question and its answer by Alpaca's names. */
export function pairGiven({ prompt, completion }: KeptPair): object {
  const system = prompt[0]?.role === "system" ? prompt[0].content : undefined;
  const history = prompt.slice(system === undefined ? 0 : 1, -1);
  return {
    ...(system !== undefined && { system }),
    ...(history.length > 0 && { history }),
    instruction: prompt.at(-1)?.content,
    output: completion[0]?.content,
  };
}
