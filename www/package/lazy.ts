import { failure, unanswered } from "./errors.js";
import type { Page } from "./evaluation/host.js";
import { checkOptions } from "./options.js";
import { VERSION } from "./protocol.js";
import { stored } from "./shared.js";

/** Loads what tells whether a model got better, which most pages never ask. */
export function evaluation(): Promise<typeof import("./evaluation.js")> {
  return ofThisBuild("evaluation.js", import("./evaluation.js"));
}

/** What evaluations are given of the page. */
export const PAGE: Page = { stored, fail: failure, check: checkOptions };

/** Loads what knows of downloaded models, and takes them to other browsers. */
export function models(): Promise<typeof import("./models.js")> {
  return ofThisBuild("models.js", import("./models.js"));
}

async function ofThisBuild<Loaded extends { VERSION: string }>(file: string, loading: Promise<Loaded>): Promise<Loaded> {
  const loaded = await loading.catch((thrown: unknown) => {
    throw failure("io", `${file} could not be loaded: ${unanswered(thrown)}`);
  });
  if (loaded.VERSION === VERSION) return loaded;
  throw failure("bad-state", `the page runs tabtune ${VERSION} but its ${file} is of ${loaded.VERSION}; reload the page`);
}
