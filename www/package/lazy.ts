import { stored } from "./dataset.js";
import { failure, unanswered } from "./errors.js";
import type { Page } from "./evaluation/host.js";
import { checkOptions } from "./options.js";
import { VERSION } from "./protocol.js";

/** Loads what tells whether a model got better, which most pages never ask. */
export async function evaluation(): Promise<typeof import("./evaluation.js")> {
  const loaded = await import("./evaluation.js").catch((thrown: unknown) => {
    throw failure("io", `evaluation.js could not be loaded: ${unanswered(thrown)}`);
  });
  if (loaded.VERSION === VERSION) return loaded;
  throw failure("bad-state", `the page runs tabtune ${VERSION} but its evaluations ${loaded.VERSION}; reload the page`);
}

/** What that is given of the page. */
export const PAGE: Page = { stored, fail: failure, check: checkOptions };
