import type { Learnt, LearntStore } from "./learnt.js";
import type { ModelName } from "../train/model-name.js";
import type { Config } from "../train/settings.js";
import { stored } from "../ui/stored.js";

/** How the page kept a run before there was a list: one for each dataset, under its name, in localStorage. */
const PREFIX = "tabtune:run:";

interface Begun {
  dataset: string;
  heldout: string | null;
  is_chat: boolean;
  model: ModelName;
  config: Config;
  begun: number;
}

/** Brings runs of that time into the list; their checkpoints have the dataset's name. What is damaged goes away. */
export async function takeOverEarlier(store: LearntStore): Promise<void> {
  for (const name of stored.names(PREFIX)) {
    const run = stored.get<Begun>(name);
    if (isWhole(run)) await store.put(asLearnt(run));
    stored.forget(name);
  }
}

function isWhole(run: Begun | undefined): run is Begun {
  return typeof run?.dataset === "string" && typeof run.model?.kind === "string" && typeof run.config?.train?.max_steps === "number";
}

function asLearnt({ dataset, heldout, is_chat, model, config, begun }: Begun): Learnt {
  return {
    version: 1,
    id: dataset,
    name: dataset,
    model,
    config,
    rows: { dataset, heldout, is_chat, count: null },
    question: null,
    has_files: false,
    steps: 0,
    date: begun,
  };
}
