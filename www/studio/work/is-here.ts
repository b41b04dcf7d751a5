import { cachedModels } from "tabtune";
import { listedBy } from "../train/listed.js";
import { modelWords, type ModelName } from "../train/model-name.js";

/** Whether a model's files need no network any more. */
export async function isHere({ kind, name }: ModelName): Promise<boolean> {
  if (kind !== "hub") return true;
  const cached = await cachedModels().catch(() => []);
  const { id } = listedBy(name) ?? { id: name };
  return cached.some((model) => model.complete && (model.name === id || model.name === modelWords({ kind, name })));
}
