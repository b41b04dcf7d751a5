import { Zip, ZipDeflate, ZipPassThrough } from "fflate";
import { sha256 } from "./sums.js";

/** Where an archive is written to, piece by piece. */
export interface Sink {
  write(piece: Uint8Array<ArrayBuffer>): Promise<void>;
  /** All of it was written. */
  close(): Promise<void>;
  /** It did not become whole: nothing of it is to stay. */
  abort(): Promise<void>;
}

/** What a manifest tells of a file beside it. */
export interface FileSum {
  path: string;
  bytes: number;
  sha256: string;
}

/** Bytes of an archive, beyond which zip needs an extension that not all programs read. */
export const MOST_ARCHIVE = 2 ** 32 - 2 ** 24;

/** Bytes that are packed at a time, so that a page does not stand still meanwhile. */
const PIECE = 4 << 20;

/** The same content gives the same archive: its files have no time of their own. */
const MTIME = new Date(1980, 0, 1);

/** Writes a zip file. Each file is whole in memory when it is added, and goes on to the sink before the next one. */
export class ZipWriter {
  readonly #sink: Sink;
  readonly #zip: Zip;
  #pieces: Uint8Array<ArrayBuffer>[] = [];
  #problem: Error | undefined;

  constructor(sink: Sink) {
    this.#sink = sink;
    this.#zip = new Zip((problem, piece) => {
      if (problem) this.#problem = problem;
      else this.#pieces.push(piece as Uint8Array<ArrayBuffer>);
    });
  }

  /** Adds a file: text made smaller, weights as they are, which hardly become so. */
  async add(path: string, content: Uint8Array<ArrayBuffer>, is_text: boolean): Promise<FileSum> {
    const file = is_text ? new ZipDeflate(path, { level: 6 }) : new ZipPassThrough(path);
    file.mtime = MTIME;
    this.#zip.add(file);
    for (let at = 0; at === 0 || at < content.length; at += PIECE) {
      file.push(content.subarray(at, at + PIECE), at + PIECE >= content.length);
      await this.#flush();
    }
    return { path, bytes: content.length, sha256: await sha256(content) };
  }

  async close(): Promise<void> {
    this.#zip.end();
    await this.#flush();
    await this.#sink.close();
  }

  async #flush(): Promise<void> {
    if (this.#problem) throw this.#problem;
    const pieces = this.#pieces;
    this.#pieces = [];
    for (const piece of pieces) await this.#sink.write(piece);
  }
}
