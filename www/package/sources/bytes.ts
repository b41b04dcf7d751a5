import { failure, TabtuneError } from "../errors.js";
import type { Piece } from "./types.js";

/** Bytes in whatever portions they come. */
export type Bytes = AsyncGenerator<Uint8Array, void, undefined>;

/** The most bytes of a piece. */
const PIECE = 1 << 20;

/** The most compressed bytes that are unpacked at once, which can become a thousand times as many. */
const PACKED_PIECE = 16 << 10;

/** Enough of a file to tell gzip, zip and Parquet. */
const HEAD = 4;

export function isParquet(head: Uint8Array): boolean {
  return head[0] === 0x50 && head[1] === 0x41 && head[2] === 0x52 && head[3] === 0x31; // PAR1
}

export function isZip(head: Uint8Array): boolean {
  return head[0] === 0x50 && head[1] === 0x4b && head[2] === 3 && head[3] === 4; // PK
}

function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/** A range of a Blob. Blobs of files fail when the file was changed or removed. */
export async function readBlob(name: string, blob: Blob, start: number, end: number): Promise<ArrayBuffer> {
  try {
    return await blob.slice(start, end).arrayBuffer();
  } catch (thrown) {
    throw failure("io", `${name}: ${String(thrown)}`);
  }
}

/** The first bytes of a Blob, by which its kind is told. */
export async function headOf(name: string, blob: Blob): Promise<Uint8Array> {
  return new Uint8Array(await readBlob(name, blob, 0, HEAD));
}

export async function* blobBytes(name: string, blob: Blob): Bytes {
  for (let start = 0; start < blob.size; start += PIECE) {
    yield new Uint8Array(await readBlob(name, blob, start, start + PIECE));
  }
}

/** The text of a file whose bytes come one after another, out of gzip if it is in there. */
export async function* textPieces(name: string, stored: Bytes): AsyncGenerator<Piece, void, undefined> {
  let loaded = 0;
  async function* counted(): Bytes {
    for await (const bytes of stored) {
      loaded += bytes.length;
      yield bytes;
    }
  }
  let text = await withHead(counted());
  if (isGzip(text.head)) text = await withHead(gunzip(name, text.bytes));
  if (isParquet(text.head)) {
    const message = "Parquet cannot be read out of gzip or a stream, only as a file of its own";
    throw failure("bad-data", `${name}: ${message}`);
  }
  if (/\.parquet(\.gz)?$/i.test(name)) {
    throw failure("bad-data", `${name}: is no Parquet file, or a damaged one`);
  }
  for await (const bytes of text.bytes) {
    for (const part of parts(bytes)) yield { bytes: part, loaded };
  }
}

/** Bytes in parts that are no longer than a piece may be. */
export function* parts(bytes: Uint8Array, most = PIECE): Generator<Uint8Array, void, undefined> {
  for (let start = 0; start < bytes.length; start += most) yield bytes.subarray(start, start + most);
}

/** Looks at the first bytes without taking them away. */
async function withHead(bytes: Bytes): Promise<{ head: Uint8Array; bytes: Bytes }> {
  let head: Uint8Array = new Uint8Array();
  while (head.length < HEAD) {
    const { done, value } = await bytes.next();
    if (done) break;
    const longer = new Uint8Array(head.length + value.length);
    longer.set(head);
    longer.set(value, head.length);
    head = longer;
  }
  return { head, bytes: followed(head, bytes) };
}

async function* followed(head: Uint8Array, rest: Bytes): Bytes {
  try {
    yield head;
    yield* rest;
  } finally {
    await rest.return();
  }
}

async function* smallParts(bytes: Bytes): Bytes {
  for await (const piece of bytes) yield* parts(piece, PACKED_PIECE);
}

async function* gunzip(name: string, compressed: Bytes): Bytes {
  let source_failure: unknown;
  const packed = smallParts(compressed);
  const stream = new ReadableStream<BufferSource>({
    async pull(controller) {
      try {
        const { done, value } = await packed.next();
        if (done) controller.close();
        else controller.enqueue(value as Uint8Array<ArrayBuffer>);
      } catch (thrown) {
        source_failure = thrown;
        throw thrown;
      }
    },
    async cancel() {
      await packed.return();
    },
  }, { highWaterMark: 0 });
  const reader = stream.pipeThrough(new DecompressionStream("gzip")).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (thrown) {
    if (source_failure instanceof TabtuneError) throw source_failure;
    // A browser does not say which: to it several streams in one file are data after the end.
    const what = "its gzip data are damaged, cut off, or several streams in one, which browsers do not read";
    throw failure("bad-data", `${name}: ${what} (${String(thrown)})`);
  } finally {
    reader.cancel().catch(() => {});
  }
}
