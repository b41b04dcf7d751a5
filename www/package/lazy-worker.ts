import { failure, unanswered } from "./errors.js";
import { VERSION } from "./protocol.js";

/** Loads what a worker needs to take part in rounds of learning together, which most never do. */
export async function federated(): Promise<typeof import("./federated-worker.js")> {
  const loaded = await import("./federated-worker.js").catch((thrown: unknown) => {
    throw failure("io", `federated-worker.js could not be loaded: ${unanswered(thrown)}`);
  });
  if (loaded.VERSION === VERSION) return loaded;
  throw failure("bad-state", `the worker runs tabtune ${VERSION} but its rounds ${loaded.VERSION}; reload the page`);
}
