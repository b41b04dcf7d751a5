import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { throwIfAborted } from "../errors.js";
import type { RemoteFile } from "./download.js";
import type { HubFolder } from "./folder.js";
import type { Job } from "./job.js";

const CACHE = "transformers-cache";

/** The file as transformers.js cached it: under the address that it asks for, as one response. */
export async function transformersCopy({ hub, id, revision }: HubFolder, file: Pick<RemoteFile, "name" | "size">): Promise<Blob | undefined> {
  // Opening a cache that is not there would make one.
  if (!(await caches.has(CACHE))) return undefined;
  const cache = await caches.open(CACHE);
  const response = await cache.match(`${hub}/${id}/resolve/${encodeURIComponent(revision)}/${file.name}`);
  const blob = await response?.blob();
  return blob?.size === file.size ? blob : undefined;
}

/** Whether a Blob has the checksum that the hub gives; true where it gives none. */
export async function agrees(job: Job, file: RemoteFile, blob: Blob): Promise<boolean> {
  if (file.sha256 === undefined) return true;
  const hash = sha256.create();
  for (let at = 0; at < blob.size; at += job.part_bytes) {
    throwIfAborted(job.signal);
    hash.update(new Uint8Array(await blob.slice(at, at + job.part_bytes).arrayBuffer()));
  }
  return bytesToHex(hash.digest()) === file.sha256;
}
