import { Engine } from "./engine.js";
import { PageWorker } from "./page-worker.js";
import type { KernelsAnswer, Request, Sign } from "./protocol.js";

/** A page that hands in a GPUDevice of its own runs the engine itself, since devices cannot be sent. */
export { Engine };

// A module that a page imports finds a window here.
if (typeof window === "undefined") {
  const engine = new Engine((reply) => self.postMessage(reply), { worker: () => new PageWorker((wish) => self.postMessage(wish)) });
  self.onmessage = ({ data }: MessageEvent<Request | KernelsAnswer>) => {
    if ("kernels" in data) PageWorker.receive(data);
    else engine.receive(data);
  };
  // No event tells a page that its worker was ended; the browser lets go of what it held.
  const lock = `tabtune-worker:${crypto.randomUUID()}`;
  const held = () => {
    self.postMessage({ lock } satisfies Sign);
    return new Promise(() => {});
  };
  void navigator.locks?.request(lock, held);
}
