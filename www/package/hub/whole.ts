import type { Job } from "./job.js";
import { Progress } from "./progress.js";
import { chunksOf, isMissing, refusal, request, retrying } from "./request.js";

/**
 * Downloads a file as one Blob that is gone with the reader: for servers that do not say which version
 * of a file they send, and for callers that want nothing kept. Undefined where there is no such file.
 */
export async function fetchWhole(job: Job, name: string, address: string): Promise<Blob | undefined> {
  const progress = new Progress(job, name);
  return retrying(job, async () => {
    const response = await request(job, address, { cache: "default" });
    if (isMissing(response, name)) return undefined;
    if (!response.ok) throw refusal(job, address, response);
    const { headers } = response;
    // The length of a compressed body is not that of the file.
    const length = headers.has("content-encoding") ? null : headers.get("content-length");
    progress.restart(length === null ? undefined : Number(length));
    progress.begin();
    const blobs: Blob[] = [];
    let arrived: Uint8Array<ArrayBuffer>[] = [];
    let arrived_bytes = 0;
    for await (const chunk of chunksOf(job, address, response)) {
      progress.add(chunk.length);
      arrived.push(chunk);
      arrived_bytes += chunk.length;
      if (arrived_bytes < job.part_bytes) continue;
      // A Blob lies outside of the worker's heap.
      blobs.push(new Blob(arrived));
      arrived = [];
      arrived_bytes = 0;
    }
    progress.done();
    return new Blob([...blobs, ...arrived]);
  });
}
