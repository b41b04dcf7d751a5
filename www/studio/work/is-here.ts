import { cachedModels } from "tabtune";
import { hubIdIn, type ModelName } from "../train/model-name.js";

/** The hub's ids of models whose files are all in this browser; one that was downloaded in part is not here. */
export async function modelsHere(): Promise<ReadonlySet<string>> {
  // Without a cache nothing is here.
  const cached = await cachedModels().catch(() => []);
  return new Set(cached.filter(({ complete }) => complete).map(({ name }) => name));
}

/** Whether a model's files need no network any more. */
export async function isHere({ kind, name }: ModelName): Promise<boolean> {
  if (kind !== "hub") return true;
  // A GGUF has its encoding behind the id, and lies under the id alone.
  const id = hubIdIn(name)?.split(":")[0] ?? name;
  return (await modelsHere()).has(id);
}
