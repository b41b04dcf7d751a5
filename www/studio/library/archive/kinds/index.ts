import type { ArchivedKind } from "../manifest.js";
import { adapter } from "./adapter.js";
import { chat } from "./chat.js";
import { dataset } from "./dataset.js";
import type { Kind } from "./kind.js";
import { model } from "./model.js";
import { run, steps } from "./run.js";
import { settings } from "./settings.js";

/** What is to be known of each kind. A new one has a file here, and stands in the manifest's KINDS. */
export const KIND: Record<ArchivedKind, Kind> = { run, steps, adapter, dataset, model, chat, settings };
