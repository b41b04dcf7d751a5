import { isLearnt, type Item } from "../items.js";
import { shelvedToPack } from "./kinds/adapter.js";
import { chatToPack } from "./kinds/chat.js";
import { rowsToPack } from "./kinds/dataset.js";
import type { Sources } from "./kinds/kind.js";
import { isOfThePage, modelsToPack } from "./kinds/model.js";
import { learntToPack } from "./kinds/run.js";
import type { ToPack } from "./pack.js";

/**
 * What is packed of an item of the library: each revision of a model, and nothing of what cannot be taken along, as models that
 * are not here as a whole or come with the page.
 */
export async function toPack(item: Item, sources: Sources): Promise<ToPack[]> {
  switch (item.kind) {
    case "dataset":
      return item.subject.rows > 0 ? [rowsToPack(item.subject)] : [];
    case "chat":
      return [await chatToPack(item.name, item.subject)];
    case "model":
      return isOfThePage(item.name) ? [] : modelsToPack(item.subject);
    case "run":
    case "adapter":
      if (!isLearnt(item.subject)) return [shelvedToPack(item.subject, sources)];
      return [await learntToPack(item.subject, sources)];
  }
}
