import { TabtuneError } from "../errors.js";
import type { PortReply, PortRequest } from "./types.js";

/** The worker's end of a port: batches that come when they are asked for. */
export interface Pull {
  batches(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Tells the page that nothing more is wanted. */
  stop(): void;
}

export function pull(port: MessagePort): Pull {
  let waiting: ((reply: PortReply) => void) | undefined;
  /** The page may close the source while nothing is asked for. */
  let early: PortReply | undefined;
  port.onmessage = ({ data }: MessageEvent<PortReply>) => {
    if (waiting) waiting(data);
    else early = data;
    waiting = undefined;
  };
  const next = () =>
    new Promise<PortReply>((resolve) => {
      if (early) return resolve(early);
      waiting = resolve;
      port.postMessage("next" satisfies PortRequest);
    });
  const stop = () => {
    port.postMessage("stop" satisfies PortRequest);
    port.close();
  };
  return {
    stop,
    async *batches() {
      try {
        for (;;) {
          const reply = await next();
          if ("error" in reply) throw new TabtuneError(reply.error);
          if ("end" in reply) return;
          yield reply.bytes;
        }
      } finally {
        stop();
      }
    },
  };
}
