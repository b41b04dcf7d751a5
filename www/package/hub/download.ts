import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { failure, throwIfAborted } from "../errors.js";
import type { Job } from "./job.js";
import type { Parts } from "./parts.js";
import type { Progress } from "./progress.js";
import { chunksOf, discard, Passing, refusal, request, retrying } from "./request.js";

/** A file on a server, whose length is known before it is downloaded. */
export interface RemoteFile {
  name: string;
  address: string;
  size: number;
  /** Names the content; see the store. */
  version: string;
  /** The checksum that the hub gives. */
  sha256?: string | undefined;
  /** Told from each answer, this must stay the same. Left out where the address names the content. */
  validator?: { expected: string; of(response: Response): string | undefined };
}

/** Brings the parts of a file that are missing, in order, and checks the whole. */
export class Download {
  readonly #job: Job;
  readonly #file: RemoteFile;
  readonly #parts: Parts;
  readonly #progress: Progress;
  readonly #hash: ReturnType<typeof sha256.create> | undefined;
  #stored = new Set<number>();
  /** The first part that is not there yet; those before it are hashed. */
  #next = 0;
  /** What has come of that part. It outlives a cut connection, so that a try goes on at the very byte. */
  #arrived: Uint8Array<ArrayBuffer>[] = [];
  #arrived_bytes = 0;

  constructor(job: Job, file: RemoteFile, parts: Parts, progress: Progress) {
    this.#job = job;
    this.#file = file;
    this.#parts = parts;
    this.#progress = progress;
    this.#hash = file.sha256 === undefined ? undefined : sha256.create();
  }

  /** Returns once all parts are there. Throws, and leaves what came in its place, where that fails. */
  async run(): Promise<void> {
    this.#stored = await this.#parts.stored();
    while (this.#next < this.#parts.count) {
      throwIfAborted(this.#job.signal);
      const kept = this.#arrived_bytes === 0 ? await this.#parts.get(this.#next) : undefined;
      if (kept) {
        this.#hash?.update(new Uint8Array(await kept.arrayBuffer()));
        this.#progress.add(kept.size);
        this.#next++;
      } else {
        await retrying(this.#job, () => this.#receive());
      }
    }
  }

  /** The checksum of what was downloaded, where the hub gives one to compare it with. */
  sum(): string | undefined {
    return this.#hash && bytesToHex(this.#hash.digest());
  }

  /** Downloads up to the next part that is there. A connection that brought parts is no failed try. */
  async #receive(): Promise<void> {
    const before = this.#next;
    try {
      await this.#request();
    } catch (thrown) {
      if (!(thrown instanceof Passing) || this.#next === before) throw thrown;
    }
  }

  async #request(): Promise<void> {
    const { address, size } = this.#file;
    const start = this.#position();
    let end = this.#endOfGap();
    this.#progress.begin();
    // A whole file is asked for plainly, which every server and every redirect can answer. The browser's
    // other cache would only hold the same bytes once more.
    const range = start > 0 || end < size ? { range: `bytes=${start}-${end - 1}` } : {};
    const response = await request(this.#job, address, { ...range, cache: "no-store" });
    if (response.status === 416) throw this.#wrongLength(response, "less");
    if (response.status !== 200 && response.status !== 206) throw refusal(this.#job, address, response);
    this.#checkUnchanged(response);

    let skip = 0;
    if (response.status === 200) {
      // The server knows no ranges and sends the file from its start.
      skip = start;
      end = size;
    } else {
      const total = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
      if (total !== undefined && Number(total) !== size) throw this.#wrongLength(response, total);
    }
    for await (const chunk of chunksOf(this.#job, address, response)) {
      const skipped = Math.min(skip, chunk.length);
      skip -= skipped;
      if (this.#position() + chunk.length - skipped > end) throw this.#wrongLength(response, "more");
      await this.#add(chunk.subarray(skipped));
    }
    if (this.#position() < end) throw new Passing(address, `the download ended at byte ${this.#position()} of ${size}`);
  }

  /** How far the file has come, in bytes. */
  #position(): number {
    return this.#next * this.#parts.part_bytes + this.#arrived_bytes;
  }

  #endOfGap(): number {
    let index = this.#next + 1;
    while (index < this.#parts.count && !this.#stored.has(index)) index++;
    return Math.min(index * this.#parts.part_bytes, this.#file.size);
  }

  async #add(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#progress.add(chunk.length);
    while (chunk.length > 0) {
      const piece = chunk.subarray(0, this.#parts.length(this.#next) - this.#arrived_bytes);
      this.#arrived.push(piece);
      this.#arrived_bytes += piece.length;
      chunk = chunk.subarray(piece.length);
      if (this.#arrived_bytes === this.#parts.length(this.#next)) await this.#finishPart();
    }
  }

  async #finishPart(): Promise<void> {
    for (const piece of this.#arrived) this.#hash?.update(piece);
    const blob = new Blob(this.#arrived);
    this.#arrived = [];
    this.#arrived_bytes = 0;
    await this.#parts.put(this.#next, blob);
    this.#next++;
  }

  #checkUnchanged(response: Response): void {
    const { address, validator } = this.#file;
    const found = validator?.of(response);
    if (found === undefined || found === validator?.expected) return;
    discard(response);
    throw failure("io", `${address}: the file changed on the server while it was being downloaded; load it again`);
  }

  #wrongLength(response: Response, found: string): Passing {
    discard(response);
    return new Passing(this.#file.address, `the server sent ${found} bytes, but the file has ${this.#file.size}`);
  }
}
