import { Inflate } from "fflate";
import { breathe, shown } from "./limits.js";

/**
 * Reads zip files (PKWARE's APPNOTE, 4.3 and 4.4) of which nothing is believed. fflate inflates. Its reader of whole files holds all
 * of them in memory, compares no sums, lets the later of two files of one name win and believes what a file says of its size, so the
 * directory is read here.
 */

const END = { bytes: 22, signature: 0x06054b50 };
const CENTRAL = { bytes: 46, signature: 0x02014b50 };
const LOCAL = { bytes: 30, signature: 0x04034b50 };
/** Set where sizes and sum stand behind the data, and in the directory all the same. */
const SIZES_BEHIND = 8;
/** How thoroughly it was deflated, that, and names in UTF-8. */
const KNOWN_FLAGS = 2 | 4 | SIZES_BEHIND | 0x800;
const [STORED, DEFLATED] = [0, 8];
/** Bytes that are read or summed at a time, and those that are inflated at a time, which become at the most 1032 times as many. */
const PIECE = { read: 1 << 20, summed: 4 << 20, inflated: 4 << 10 };

/** What is wrong with a zip file: it has no end, as one that was not downloaded whole, its directory is too long, or anything else. */
export type ZipProblem = "cut-off" | "too-large" | "damaged";

/** What is taken of a zip file, and what is thrown where that is not what it is. */
export interface ZipLimits {
  /** The most bytes of its directory, which has some 50 for each file, and its name. */
  directory: number;
  /** Makes what is thrown of a problem and of what is found, as "its directory cannot be read". Names in it are quoted, short and else as they are. */
  refuse(problem: ZipProblem, found: string): Error;
}

/** A file in a zip file. Its sizes are what the directory says. */
export interface ZipEntry {
  name: string;
  /** Bytes in the zip file. */
  packed: number;
  /** Bytes once it is unpacked. Reading takes that much memory and never more, so look at them first. */
  bytes: number;
  /** The file, which is what it was when it was packed. Throws what {@link ZipLimits.refuse} makes. */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

interface Zip extends ZipLimits {
  blob: Blob;
}

/** A file as the directory has it. */
interface Told {
  name: string;
  flags: number;
  method: number;
  crc: number;
  packed: number;
  bytes: number;
  /** Of the header before its data. */
  at: number;
}

/**
 * Opens a zip file that may be anybody's: its files in the order of its directory, no two of one name or in one another's bytes. The
 * directory alone is read. Throws what `refuse` makes, for files with comments at their end, encrypted or larger than 4 GiB too.
 */
export async function openZip(blob: Blob, limits: ZipLimits): Promise<ZipEntry[]> {
  const zip: Zip = { ...limits, blob };
  const files = await directoryOf(zip);
  return files.map((told) => ({ name: told.name, packed: told.packed, bytes: told.bytes, read: () => fileOf(zip, told) }));
}

/** The directory, which is all that there is behind the data. */
async function directoryOf(zip: Zip): Promise<Told[]> {
  const { blob, directory, refuse } = zip;
  if (blob.size < END.bytes) throw refuse("cut-off", "it is too short");
  const end = await viewOf(zip, blob.size - END.bytes, END.bytes);
  if (end.getUint32(0, true) !== END.signature) throw refuse("cut-off", "its end is missing, or a comment follows it");
  const [disk, of_disk, here, all] = [4, 6, 8, 10].map((at) => end.getUint16(at, true)) as [number, number, number, number];
  const [bytes, start, comment] = [end.getUint32(12, true), end.getUint32(16, true), end.getUint16(20, true)];
  const is_whole = disk === 0 && of_disk === 0 && here === all && comment === 0;
  if (!is_whole || start + bytes !== blob.size - END.bytes) throw refuse("damaged", "its directory is not where its end says");
  if (bytes > directory) throw refuse("too-large", `its directory has ${bytes} bytes, more than the ${directory} that are taken`);
  const files = entriesOf(zip, await viewOf(zip, start, bytes));
  if (files.length !== all) throw refuse("damaged", `its directory has ${files.length} files, but its end says ${all}`);
  checkPlaces(zip, files, start);
  const seen = new Set<string>();
  for (const { name } of files) {
    if (seen.has(name)) throw refuse("damaged", `${shown(name)} is in it twice`);
    seen.add(name);
  }
  return files;
}

function entriesOf({ refuse }: Zip, view: DataView): Told[] {
  const files: Told[] = [];
  for (let at = 0; at < view.byteLength; ) {
    const entry = entryAt(view, at);
    if (!entry) throw refuse("damaged", "its directory cannot be read");
    const { name, flags, method } = entry.told;
    if ((flags & ~KNOWN_FLAGS) !== 0) throw refuse("damaged", `${shown(name)} is encrypted or of a newer kind`);
    if (method !== STORED && method !== DEFLATED) throw refuse("damaged", `${shown(name)} is packed by method ${method}; 0 and 8 are read`);
    files.push(entry.told);
    at = entry.end;
  }
  return files;
}

function entryAt(view: DataView, at: number): { told: Told; end: number } | undefined {
  if (at + CENTRAL.bytes > view.byteLength || view.getUint32(at, true) !== CENTRAL.signature) return undefined;
  const [length, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
  const end = at + CENTRAL.bytes + length + extra + comment;
  if (end > view.byteLength) return undefined;
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL.bytes, length));
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [crc, packed, bytes] = [16, 20, 24].map((field) => view.getUint32(at + field, true)) as [number, number, number];
  return { told: { name, flags, method, crc, packed, bytes, at: view.getUint32(at + 42, true) }, end };
}

/** Files that lie in one another, or in the directory, make much of little. */
function checkPlaces({ refuse }: Zip, files: readonly Told[], directory: number): void {
  let free = 0;
  for (const { name, at, packed } of [...files].sort((one, other) => one.at - other.at)) {
    if (at < free) throw refuse("damaged", `${shown(name)} lies in another file`);
    free = at + LOCAL.bytes + name.length + packed;
  }
  if (free > directory) throw refuse("damaged", "a file lies in its directory");
}

async function fileOf(zip: Zip, told: Told): Promise<Uint8Array<ArrayBuffer>> {
  const { blob, refuse } = zip;
  const { name, flags, method, crc, packed, bytes, at } = told;
  const view = await viewOf(zip, at, LOCAL.bytes);
  const [length, extra] = [view.getUint16(26, true), view.getUint16(28, true)];
  const sizes = [14, 18, 22].map((field) => view.getUint32(field, true));
  const says_the_same = (flags & SIZES_BEHIND) !== 0 || (sizes[0] === crc && sizes[1] === packed && sizes[2] === bytes);
  const agrees = view.getUint32(0, true) === LOCAL.signature && view.getUint16(6, true) === flags && view.getUint16(8, true) === method;
  const start = at + LOCAL.bytes + length + extra;
  const written = new TextDecoder().decode(await blob.slice(at + LOCAL.bytes, at + LOCAL.bytes + length).arrayBuffer());
  if (!agrees || !says_the_same || written !== name || start + packed > blob.size) throw refuse("damaged", `${shown(name)} and the directory disagree`);
  const data = blob.slice(start, start + packed);
  const content = method === DEFLATED ? await inflated(zip, told, data) : new Uint8Array(await data.arrayBuffer());
  if (content.length !== bytes || (await crc32(content)) !== crc) throw refuse("damaged", `${shown(name)} is not what it was when it was packed`);
  return content;
}

/** Ends as soon as there is more than the directory says. */
async function inflated({ refuse }: Zip, { name, bytes }: Told, data: Blob): Promise<Uint8Array<ArrayBuffer>> {
  const content = new Uint8Array(bytes);
  let length = 0;
  let is_over = false;
  let refused: Error | undefined;
  const inflate = new Inflate((piece, final) => {
    if (length + piece.length > bytes) throw (refused = refuse("damaged", `${shown(name)} becomes larger than its directory says`));
    content.set(piece, length);
    length += piece.length;
    is_over = final;
  });
  try {
    for (let from = 0; from < data.size; from += PIECE.read) {
      // A zip file of many small files is not made to wait for each.
      if (from > 0) await breathe();
      const read = new Uint8Array(await data.slice(from, from + PIECE.read).arrayBuffer());
      for (let at = 0; at < read.length; at += PIECE.inflated) {
        inflate.push(read.subarray(at, at + PIECE.inflated), from + at + PIECE.inflated >= data.size);
      }
    }
  } catch (thrown) {
    throw refused ?? refuse("damaged", `${shown(name)} cannot be unpacked (${(thrown as Error).message})`);
  }
  if (!is_over || length !== bytes) throw refuse("damaged", `${shown(name)} ends at byte ${length}, but its directory says ${bytes}`);
  return content;
}

async function viewOf({ blob, refuse }: Zip, start: number, bytes: number): Promise<DataView> {
  const buffer = await blob.slice(start, start + bytes).arrayBuffer();
  if (buffer.byteLength !== bytes) throw refuse("damaged", "it ends too early");
  return new DataView(buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

/** The sum of zip files (ISO 3309), with a breath where there is much to sum. */
async function crc32(bytes: Uint8Array): Promise<number> {
  let sum = 0xffffffff;
  for (let from = 0; from < bytes.length; from += PIECE.summed) {
    if (from > 0) await breathe();
    const end = Math.min(from + PIECE.summed, bytes.length);
    for (let at = from; at < end; at++) sum = TABLE[(sum ^ bytes[at]!) & 255]! ^ (sum >>> 8);
  }
  return ~sum >>> 0;
}
