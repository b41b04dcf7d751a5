import { failure, type TabtuneError } from "../errors.js";
import type { ListedFile } from "./list.js";
import type { Parts } from "./parts.js";
import type { RecordedFile } from "./record.js";
import { FileSum } from "./sums.js";

/** Bytes that are read and summed at a time, so that a page does not stand still meanwhile. */
const STEP = 1 << 20;

/** Puts a part into the cache. */
type Put = (index: number, part: Blob) => Promise<void>;

/** A file that is brought from elsewhere, on its way into parts. Nothing is put over a part that is here, so that is what counts. */
export class Arrival {
  readonly #file: RecordedFile;
  readonly #parts: Parts;
  readonly #put: Put;
  readonly #sum: FileSum | undefined;
  /** Parts that wait for the sum: a file without sha256 is not looked at again, should it be gone on with as a download. */
  readonly #held: [index: number, part: Blob][] | undefined;
  /** The part that is to come. */
  #index = 0;
  /** The same, where it is here already; undefined until it was looked for. */
  #kept: Blob | "none" | undefined;
  #arrived: Uint8Array<ArrayBuffer>[] = [];
  #arrived_bytes = 0;
  #bytes = 0;
  #is_mixed = false;

  constructor(file: RecordedFile, listed: ListedFile | undefined, parts: Parts, put: Put) {
    this.#file = file;
    this.#parts = parts;
    this.#put = put;
    this.#sum = listed && new FileSum(listed);
    this.#held = listed && !listed.sha256 ? [] : undefined;
  }

  async add(chunk: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#file.size) throw this.#bad(`it has more than the ${this.#file.size} bytes that its record tells`);
    while (chunk.length > 0) {
      const piece = chunk.subarray(0, this.#parts.length(this.#index) - this.#arrived_bytes);
      chunk = chunk.subarray(piece.length);
      this.#arrived_bytes += piece.length;
      this.#kept ??= (await this.#parts.get(this.#index)) ?? "none";
      if (this.#kept === "none") {
        this.#sum?.add(piece);
        this.#arrived.push(piece);
      }
      if (this.#arrived_bytes === this.#parts.length(this.#index)) await this.#finishPart(this.#kept);
    }
  }

  /** Returns once all of the file is in the cache. Throws `bad-model` where it is not what its sum says. */
  async end(): Promise<void> {
    if (this.#bytes < this.#file.size) throw this.#bad(`it ends at byte ${this.#bytes} of ${this.#file.size}`);
    const found = this.#sum?.end();
    if (this.#sum && found !== this.#sum.expected) {
      throw this.#bad(`its ${this.#sum.kind} is ${found}, but the hub's list gives ${this.#sum.expected}`);
    }
    for (const [index, part] of this.#held ?? []) await this.#put(index, part);
  }

  async #finishPart(kept: Blob | "none"): Promise<void> {
    if (kept !== "none") {
      this.#is_mixed = true;
      if (this.#sum) for await (const chunk of stepsOf(kept)) this.#sum.add(chunk);
    } else if (this.#held) this.#held.push([this.#index, new Blob(this.#arrived)]);
    else await this.#put(this.#index, new Blob(this.#arrived));
    this.#index++;
    this.#kept = undefined;
    this.#arrived = [];
    this.#arrived_bytes = 0;
  }

  #bad(found: string): TabtuneError {
    const advice = this.#is_mixed
      ? "what comes along, or the part of it that was downloaded here, is damaged: take that away with forgetModel, and import it anew"
      : "it was changed or cut off on its way: bring the file anew, or export the model once more";
    return failure("bad-model", `${this.#file.name}: ${found}; ${advice}`);
  }
}

/** The bytes of a Blob, a step at a time. */
export async function* stepsOf(blob: Blob): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  for (let at = 0; at < blob.size; at += STEP) yield new Uint8Array(await blob.slice(at, at + STEP).arrayBuffer());
}
