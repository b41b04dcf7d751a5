import { Client } from "./client.js";
import { detailsOf } from "./errors.js";
import { VERSION, type CallName, type Calls } from "./protocol.js";

/** How long the worker is kept when it has nothing to do. */
const IDLE_MILLIS = 5000;

/** Errors after which a worker is as good as before: of what was asked for, and of who asked. */
const HARMLESS = /^(bad-option|cancelled)$/;

let shared: { client: Client; started: Promise<unknown>; calls: number; idle?: ReturnType<typeof setTimeout> } | undefined;

/**
 * Does `work` with the worker that all share on this page who need no loaded model: datasets, what is stored of runs, and figures of
 * runs to come. It ends when it is no longer used.
 */
export async function withShared<T>(work: (client: Client) => Promise<T>): Promise<T> {
  // One that has ended by itself is not taken.
  if (shared?.client.closed) end(shared);
  if (!shared) {
    const client = Client.inWorker();
    shared = { client, started: client.call("start_library", { version: VERSION }), calls: 0 };
  }
  const used = shared;
  used.calls += 1;
  clearTimeout(used.idle);
  try {
    await used.started;
    return await work(used.client);
  } catch (thrown) {
    // One that could not start must not be taken for the next call.
    if (used === shared && used.calls === 1 && !HARMLESS.test(detailsOf(thrown).code)) end(used);
    throw thrown;
  } finally {
    used.calls -= 1;
    // A call that comes meanwhile begins the time anew.
    if (used === shared && used.calls === 0) used.idle = setTimeout(() => end(used), IDLE_MILLIS);
  }
}

/** Asks that worker for what is stored. */
export function stored<C extends CallName>(call: C, args: Calls[C]["args"]): Promise<Calls[C]["result"]> {
  return withShared((client) => client.call(call, args));
}

function end(used: NonNullable<typeof shared>): void {
  shared = undefined;
  clearTimeout(used.idle);
  used.client.terminate();
}
