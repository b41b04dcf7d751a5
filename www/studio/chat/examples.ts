import { Dataset } from "tabtune";
import type { ModelName } from "../train/model-name.js";
import type { Learnt } from "../library/learnt.js";
import { questionOf } from "../work/question.js";
import { rowsIn } from "../data/stored-rows.js";

/** So many are offered. */
const MOST = 3;
/** Rows often ask the same in other words, so that questions are taken from far apart among so many. */
const LOOKED_AT = 60;
/** Letters of a question that fits a button. */
const LONGEST = 120;

const OF_BUNDLED = ["What is tabtune?", "What is a lake?", "Tell me a story about a fox."];
const OF_OTHERS = ["What can you help me with?", "Explain rain to a child.", "Write four lines about the sea."];

/** What can be asked to begin with: as the rows do that were learnt, or what the model may know. */
export async function examplesFor(learnt: Learnt["rows"], model: ModelName | undefined): Promise<string[]> {
  const asked = learnt ? await askedIn(learnt.dataset).catch(() => []) : [];
  if (asked.length > 0) return spread(asked);
  return model?.kind === "bundled" ? OF_BUNDLED : OF_OTHERS;
}

async function askedIn(name: string): Promise<string[]> {
  const asked = new Set<string>();
  for await (const row of rowsIn(await Dataset.open(name), 0, LOOKED_AT)) {
    const text = questionOf(row)?.text.trim();
    if (text && text.length <= LONGEST) asked.add(text);
  }
  return [...asked];
}

function spread(all: string[]): string[] {
  const step = Math.max(1, Math.floor(all.length / MOST));
  return all.filter((_, place) => place % step === 0).slice(0, MOST);
}
