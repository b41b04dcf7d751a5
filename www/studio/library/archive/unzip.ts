import { Inflate } from "fflate";
import { ArchiveProblem, shown } from "./problem.js";

/**
 * Reads zip files (PKWARE's APPNOTE, 4.3 and 4.4) of which nothing is believed. fflate inflates; its reader of whole files holds all
 * of them in memory, compares no sums and lets the later of two files of one name win, so the directory is read here.
 */

const END = { bytes: 22, signature: 0x06054b50 };
const CENTRAL = { bytes: 46, signature: 0x02014b50 };
const LOCAL = { bytes: 30, signature: 0x04034b50 };
/** Set where sizes and sum stand behind the data, and in the directory all the same. */
const SIZES_BEHIND = 8;
/** How thoroughly it was deflated, that, and names in UTF-8. */
const KNOWN_FLAGS = 2 | 4 | SIZES_BEHIND | 0x800;
const [STORED, DEFLATED] = [0, 8];

/** How much of an archive is taken. */
const MOST = {
  /** Bytes of the directory: some 40,000 files with the names that are written here. */
  directory: 4 << 20,
  /** Bytes that a deflated file may become. Text is packed in pieces far below that; weights are stored as they are. */
  inflated: 64 << 20,
  /** How many times larger all files together may be than the archive, once they are larger than one such piece. */
  times: 100,
};
/** Bytes that are inflated at a time, which become at the most 1032 times as many. */
const PIECE = 16 << 10;

/** A file of an archive. */
export interface Entry {
  name: string;
  /** Bytes once it is unpacked. */
  bytes: number;
  flags: number;
  method: number;
  crc: number;
  packed: number;
  /** Where the header before its data begins. */
  at: number;
}

/** The files of an archive by their names. Throws for anything that is no whole zip file, or that lies about itself. */
export async function directoryOf(zip: Blob): Promise<Map<string, Entry>> {
  if (zip.size < END.bytes || (await viewOf(zip, 0, 4)).getUint32(0, true) !== LOCAL.signature) {
    throw new ArchiveProblem("not-an-archive", "That is no library file: choose one that this page has made. Its name ends with .tabtune.");
  }
  const end = await viewOf(zip, zip.size - END.bytes, END.bytes);
  if (end.getUint32(0, true) !== END.signature) throw new ArchiveProblem("cut-off", "The file ends too early: it was not copied or downloaded to its end.");
  const [disk, of_disk, here, count] = [4, 6, 8, 10].map((at) => end.getUint16(at, true)) as [number, number, number, number];
  const [bytes, start, comment] = [end.getUint32(12, true), end.getUint32(16, true), end.getUint16(20, true)];
  const is_whole = disk === 0 && of_disk === 0 && here === count && comment === 0;
  if (!is_whole || start + bytes !== zip.size - END.bytes) throw damaged("its list of files is not where its end says");
  if (bytes > MOST.directory) throw tooLarge("its list of files");
  const entries = readEntries(await viewOf(zip, start, bytes), count);
  checkPlaces(entries, start);
  const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  if (total > Math.max(MOST.inflated, MOST.times * zip.size)) throw tooLarge("what is packed in it");
  const by_name = new Map(entries.map((entry) => [entry.name, entry]));
  if (by_name.size < entries.length) throw damaged("two of its files have one name");
  return by_name;
}

/** The bytes of a file, which are what they were when they were packed. */
export async function unpacked(zip: Blob, { name, bytes, flags, method, crc, packed, at }: Entry): Promise<Uint8Array<ArrayBuffer>> {
  const view = await viewOf(zip, at, LOCAL.bytes);
  const [length, extra] = [view.getUint16(26, true), view.getUint16(28, true)];
  const sizes = [14, 18, 22].map((field) => view.getUint32(field, true));
  const says_the_same = (flags & SIZES_BEHIND) !== 0 || (sizes[0] === crc && sizes[1] === packed && sizes[2] === bytes);
  const agrees = view.getUint32(0, true) === LOCAL.signature && view.getUint16(6, true) === flags && view.getUint16(8, true) === method;
  const start = at + LOCAL.bytes + length + extra;
  const written = new TextDecoder().decode(await zip.slice(at + LOCAL.bytes, at + LOCAL.bytes + length).arrayBuffer());
  if (!agrees || !says_the_same || written !== name || start + packed > zip.size) throw damaged(`${shown(name)} is not what its list says`);
  const data = new Uint8Array(await zip.slice(start, start + packed).arrayBuffer());
  const whole = method === DEFLATED ? inflated(name, data, bytes) : data;
  if (whole.length !== bytes || crc32(whole) !== crc) throw damaged(`${shown(name)} is not what it was when it was packed`);
  return whole;
}

function readEntries(view: DataView, count: number): Entry[] {
  const entries: Entry[] = [];
  let at = 0;
  while (at < view.byteLength) {
    const read = at + CENTRAL.bytes <= view.byteLength && entryAt(view, at);
    if (!read) throw damaged("its list of files cannot be read");
    entries.push(read.entry);
    at = read.end;
  }
  if (entries.length !== count) throw damaged(`its list has ${entries.length} files, but its end says ${count}`);
  return entries;
}

function entryAt(view: DataView, at: number): { entry: Entry; end: number } | undefined {
  if (view.getUint32(at, true) !== CENTRAL.signature) return undefined;
  const [length, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
  const end = at + CENTRAL.bytes + length + extra + comment;
  if (end > view.byteLength) return undefined;
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL.bytes, length));
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [crc, packed, bytes] = [16, 20, 24].map((field) => view.getUint32(at + field, true)) as [number, number, number];
  if ((flags & ~KNOWN_FLAGS) !== 0) throw damaged(`${shown(name)} is encrypted or of a newer kind`);
  if (method !== STORED && method !== DEFLATED) throw damaged(`${shown(name)} is packed in another way than this page packs`);
  if (method === STORED && packed !== bytes) throw damaged(`${shown(name)} tells two sizes`);
  if (method === DEFLATED && bytes > MOST.inflated) throw tooLarge(shown(name));
  return { entry: { name, flags, method, crc, packed, bytes, at: view.getUint32(at + 42, true) }, end };
}

/** Files that lie in one another, or in the directory, make much of little. */
function checkPlaces(entries: Entry[], directory: number): void {
  let free = 0;
  for (const { name, at, packed } of [...entries].sort((one, other) => one.at - other.at)) {
    if (at < free) throw damaged(`${shown(name)} lies in another file`);
    free = at + LOCAL.bytes + name.length + packed;
  }
  if (free > directory) throw damaged("a file lies in its list of files");
}

/** Ends as soon as there is more than the directory says. */
function inflated(name: string, data: Uint8Array, bytes: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(bytes);
  let length = 0;
  let is_over = false;
  const inflate = new Inflate((piece, final) => {
    if (length + piece.length > bytes) throw damaged(`${shown(name)} becomes larger than its list says`);
    whole.set(piece, length);
    length += piece.length;
    is_over ||= final;
  });
  try {
    for (let at = 0; at < data.length; at += PIECE) inflate.push(data.subarray(at, at + PIECE), at + PIECE >= data.length);
  } catch (thrown) {
    if (thrown instanceof ArchiveProblem) throw thrown;
    throw damaged(`${shown(name)} cannot be unpacked`);
  }
  if (!is_over || length !== bytes) throw damaged(`${shown(name)} is smaller than its list says`);
  return whole;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) crc = CRC_TABLE[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

async function viewOf(zip: Blob, start: number, length: number): Promise<DataView> {
  const bytes = await zip.slice(start, start + length).arrayBuffer();
  if (bytes.byteLength < length) throw damaged("it ends too early");
  return new DataView(bytes);
}

function damaged(why: string): ArchiveProblem {
  return new ArchiveProblem("damaged", `The file is damaged: ${why}. Nothing of it was taken.`);
}

function tooLarge(what: string): ArchiveProblem {
  return new ArchiveProblem("too-large", `The file is refused: ${what} would become far too large.`);
}
