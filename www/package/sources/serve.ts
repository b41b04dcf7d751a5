import { detailsOf, failure, TabtuneError } from "../errors.js";
import { BATCH_CHARS, jsonOf } from "./rows.js";
import type { PortReply, PortRequest } from "./types.js";

/** Gives what the worker asks for, batch by batch. */
export interface Feed {
  /** The next batch, in a buffer that may be transferred, or undefined at the end. */
  next(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Tells the source that nothing more is wanted. */
  stop(): void;
}

/** Serves a feed through a port until it ends, fails, or the worker or the returned function stops it. */
export function serve(port: MessagePort, feed: Feed): () => void {
  let open = true;
  const close = (reply?: PortReply) => {
    if (!open) return;
    open = false;
    feed.stop();
    if (reply) port.postMessage(reply);
    port.close();
  };
  port.onmessage = async ({ data }: MessageEvent<PortRequest>) => {
    if (data === "stop") return close();
    try {
      const bytes = await feed.next();
      if (!bytes) close({ end: true });
      else if (open) port.postMessage({ bytes } satisfies PortReply, [bytes.buffer]);
    } catch (thrown) {
      close({ error: detailsOf(thrown) });
    }
  };
  // The worker may be waiting for a source that is slow or stuck.
  const closed = failure("cancelled", "the page has closed the source of the data");
  return () => close({ error: detailsOf(closed) });
}

/** The bytes of a stream, as they come. */
export function streamFeed(stream: ReadableStream<Uint8Array>, name: string): Feed {
  if (stream.locked) throw failure("bad-option", `${name}: the stream is locked, so something else reads it`);
  const reader = stream.getReader();
  return {
    async next() {
      const { done, value } = await reader.read().catch((thrown: unknown) => {
        throw sourceFailure(name, thrown);
      });
      if (done) return undefined;
      if (!(value instanceof Uint8Array)) {
        const message = `the stream must give bytes (Uint8Array), but gave a ${typeof value}`;
        throw failure("bad-data", `${name}: ${message}`);
      }
      // The caller may go on using the buffer, so it is not this one that is transferred.
      return new Uint8Array(value);
    },
    stop() {
      reader.cancel().catch(() => {});
    },
  };
}

/**
 * The rows of an iterator as JSON lines, about 256 KiB at a time. `first` is what it gave when it was asked
 * what kind of things it has.
 */
export function rowsFeed(
  rows: Iterator<object> | AsyncIterator<object>,
  name: string,
  first?: IteratorResult<object>,
): Feed {
  const encoder = new TextEncoder();
  let number = 0;
  let ended = false;
  const take = async () => {
    let step = first;
    first = undefined;
    try {
      step ??= await rows.next();
    } catch (thrown) {
      ended = true;
      throw sourceFailure(name, thrown);
    }
    ended ||= step.done === true;
    return step;
  };
  return {
    async next() {
      let text = "";
      while (!ended && text.length < BATCH_CHARS) {
        const { done, value } = await take();
        if (done) break;
        number += 1;
        const row = jsonOf(value);
        if ("problem" in row) throw failure("bad-data", `${name} row ${number}: ${row.problem}`);
        text += `${row.json}\n`;
      }
      return text ? encoder.encode(text) : undefined;
    },
    stop() {
      if (ended) return;
      ended = true;
      // Whether the iterator can tidy up is its own affair: what it had to give is not wanted any more.
      new Promise((resolve) => resolve(rows.return?.())).catch(() => {});
    },
  };
}

/** An exception of the caller's own stream or iterator. */
export function sourceFailure(name: string, thrown: unknown): TabtuneError {
  if (thrown instanceof TabtuneError) return thrown;
  return failure("io", `${name}: the source of the data failed: ${String(thrown)}`);
}
