import { failure } from "../errors.js";
import { TUNING, type Job } from "../hub/job.js";
import { Progress } from "../hub/progress.js";
import { chunksOf, discard, isMissing, refusal, request, retrying } from "../hub/request.js";
import type { ProgressCallback } from "../types.js";

/** How something is asked of a server. */
export interface Asking {
  /** Ends it as `cancelled`. */
  signal?: AbortSignal | undefined;
  on_progress?: ProgressCallback | undefined;
}

/** What the hub's requests share, for an address of which nothing is kept. */
export function jobAt(address: string, { signal, on_progress = () => {} }: Asking): Job {
  const folder = { kind: "url" as const, base: address, cache: false };
  return { ...TUNING, folder, address, name: address, cache: undefined, report: on_progress, signal, peek: false };
}

/**
 * A file from any server, of which no more is taken than `most` bytes, whatever the server says of its length. Undefined where there is
 * none. Throws `bad-adapter` for one that is larger, and `io` where no answer comes.
 */
export async function fetchBounded(address: string, most: number, { signal, on_progress }: Asking): Promise<Blob | undefined> {
  const { href, pathname } = new URL(address);
  const name = pathname.split("/").at(-1) || "file";
  const job = jobAt(href, { signal, on_progress });
  const progress = new Progress(job, name);
  return retrying(job, async () => {
    const response = await request(job, href, { cache: "no-cache" });
    if (isMissing(response, name)) {
      discard(response);
      return undefined;
    }
    if (!response.ok) throw refusal(job, href, response);
    const { headers } = response;
    const length = headers.has("content-encoding") ? null : headers.get("content-length");
    if (length !== null && Number(length) > most) {
      discard(response);
      throw failure("bad-adapter", `${href} has ${length} bytes, more than the ${most} that are taken`);
    }
    progress.restart(length === null ? undefined : Number(length));
    progress.begin();
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    for await (const chunk of chunksOf(job, href, response)) {
      bytes += chunk.length;
      if (bytes > most) throw failure("bad-adapter", `${href} has more than the ${most} bytes that are taken`);
      progress.add(chunk.length);
      chunks.push(chunk);
    }
    progress.done();
    return new Blob(chunks);
  });
}
