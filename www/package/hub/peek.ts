import type { RemoteFile } from "./download.js";
import type { Job } from "./job.js";
import type { OpenFile } from "./opened.js";
import { discard, refusal, request, retrying, Passing } from "./request.js";

/** Files up to this size are brought here even where only a part of them is wanted. */
export const SMALL_BYTES = 1 << 20;

/**
 * A file of which only some bytes are wanted, such as a header. Each read is a request; what it gave is kept as long as the file
 * is open, because several ways to train may be asked about.
 */
export function peeked(job: Job, { name, address, size }: Pick<RemoteFile, "name" | "address" | "size">): OpenFile {
  const read = async (start: number, len: number) => {
    if (len === 0) return new Uint8Array();
    const range = `bytes=${start}-${start + len - 1}`;
    const response = await request(job, address, { range, cache: "no-store" });
    if (!response.ok || !response.body) throw refusal(job, address, response);
    // A server without ranges sends the file from its start; what comes behind is not waited for.
    const skip = response.status === 206 ? 0 : start;
    const bytes = new Uint8Array(len);
    let place = -skip;
    const reader = response.body.getReader();
    while (place < len) {
      const { done, value } = await reader.read();
      if (done) break;
      const wanted = value.subarray(Math.max(0, -place), Math.max(0, len - place));
      bytes.set(wanted, Math.max(0, place));
      place += value.length;
    }
    discard(reader);
    if (place < len) throw new Passing(address, `${name}: the connection ended early`);
    return bytes;
  };
  const known = new Map<string, Uint8Array>();
  return {
    size,
    read: async (start, len) => {
      const place = `${start} ${len}`;
      const bytes = known.get(place) ?? (await retrying(job, () => read(start, len)));
      known.set(place, bytes);
      return bytes;
    },
  };
}
