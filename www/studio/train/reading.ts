import type { TrainConfig } from "tabtune";
import type { Config } from "./fields.js";

/** The options by which rows are read. */
export type Reading = Pick<TrainConfig, "assistant_only_loss" | "completion_only_loss" | "max_length">;

/** How a run reads such rows: plain text has no answers to be learnt alone. */
export function readingOf({ train }: Pick<Config, "train">, { is_chat }: { is_chat: boolean }): Reading {
  const { method = "sft", max_length, assistant_only_loss: answers_only = true } = train;
  const length = max_length === undefined ? {} : { max_length };
  // Of preferences the answers alone count anyway.
  return method === "sft" ? { ...length, assistant_only_loss: is_chat && answers_only, completion_only_loss: answers_only } : length;
}
