import { cancelled, failure } from "./errors.js";
import { locks } from "./locks.js";
import { nameOf } from "./run.js";
import type { RunOptions } from "./trainer.js";

/** Takes a run's name for a trainer; resolves to what lets go of it, which has happened when that resolves. */
export async function hold(
  run_name: string,
  waits: boolean,
  { on_event, signal }: Pick<RunOptions, "on_event" | "signal">,
): Promise<() => Promise<void>> {
  if (waits && (await isHeld(run_name))) {
    on_event?.({ type: "waiting", reason: "running", detail: "another tab has this run", time: Date.now(), step: 0 });
  }
  return new Promise((resolve, reject) => {
    const held = (lock: Lock | null) => {
      if (!lock) throw failure("bad-state", `run "${run_name}" is going on in another tab or trainer`);
      return new Promise<void>((let_go) => {
        resolve(() => {
          let_go();
          return ended;
        });
      });
    };
    const options = waits ? { ...(signal && { signal }) } : { ifAvailable: true };
    const ended: Promise<void> = locks().request(nameOf(run_name), options, held);
    ended.catch((thrown) => reject(signal?.aborted ? cancelled() : thrown));
  });
}

/** Whether a tab or trainer has the run of that name. */
export async function isHeld(run_name: string): Promise<boolean> {
  const { held = [] } = await locks().query();
  return held.some(({ name, mode }) => name === nameOf(run_name) && mode === "exclusive");
}
