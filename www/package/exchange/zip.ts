import { Inflate, zipSync } from "fflate";
import { badAdapter, breathe, checkFile, complete, shown, type ExchangedFiles, type ExchangeLimits } from "./limits.js";

/**
 * Zip files of adapters (PKWARE's APPNOTE, 4.3 and 4.4). fflate packs and inflates. Its reader of whole files compares no sums, lets
 * the later of two files of one name win and believes what a file says of its size, so the directory is read here.
 */

const END = { bytes: 22, signature: 0x06054b50 };
const CENTRAL = { bytes: 46, signature: 0x02014b50 };
const LOCAL = { bytes: 30, signature: 0x04034b50 };
/** Bytes of a directory of as many files as an adapter has, with what systems write beside names. */
const MOST_DIRECTORY = 16 << 10;
/** Set where sizes and sum stand behind the data, and in the directory all the same. */
const SIZES_BEHIND = 8;
/** How thoroughly it was deflated, that, and names in UTF-8. */
const KNOWN_FLAGS = 2 | 4 | SIZES_BEHIND | 0x800;
const [STORED, DEFLATED] = [0, 8];
/** Bytes that are read at a time, and those that are inflated at a time, which become at the most 1032 times as many. */
const PIECE = { read: 1 << 20, inflated: 4 << 10 };
/** How much larger all files may be unpacked: zeros of a fresh adapter are half of it. */
const MOST_TIMES = 100;

interface Entry {
  name: string;
  flags: number;
  method: number;
  crc: number;
  packed: number;
  unpacked: number;
  /** Of the header before its data. */
  at: number;
}

/** Packs files without making them smaller, which weights hardly become. The same files give the same bytes. */
export function zipped(files: ExchangedFiles): Uint8Array<ArrayBuffer> {
  const mtime = new Date(1980, 0, 1);
  const entries = Object.entries(files).sort(([one], [other]) => (one < other ? -1 : 1));
  return zipSync(Object.fromEntries(entries.map(([name, bytes]) => [name, [bytes, { level: 0, mtime }]])));
}

/** The files in a zip. Throws `bad-adapter` for one that is damaged or holds anything but an adapter's files, each once. */
export async function unzipped(zip: Blob, limits: ExchangeLimits): Promise<ExchangedFiles> {
  const entries = await entriesOf(zip);
  const seen = new Set<string>();
  for (const { name, unpacked } of entries) {
    checkFile(name, unpacked, limits);
    if (seen.has(name)) throw damaged(`${name} is in it twice`);
    seen.add(name);
  }
  const total = entries.reduce((sum, { unpacked }) => sum + unpacked, 0);
  if (total > MOST_TIMES * zip.size) throw damaged(`its files would become more than ${MOST_TIMES} times as large`);
  const files: Partial<ExchangedFiles> = {};
  for (const entry of entries) files[entry.name as keyof ExchangedFiles] = await fileOf(zip, entry);
  return complete(files);
}

/** The directory, which is all that there is behind the data. */
async function entriesOf(zip: Blob): Promise<Entry[]> {
  if (zip.size < END.bytes) throw damaged("it is too short");
  const end = await viewOf(zip, zip.size - END.bytes, END.bytes);
  if (end.getUint32(0, true) !== END.signature) throw damaged("its end is missing, or a comment follows it");
  const [disk, of_disk] = [end.getUint16(4, true), end.getUint16(6, true)];
  const [here, all] = [end.getUint16(8, true), end.getUint16(10, true)];
  const [bytes, start, comment] = [end.getUint32(12, true), end.getUint32(16, true), end.getUint16(20, true)];
  const is_whole = disk === 0 && of_disk === 0 && here === all && comment === 0;
  if (!is_whole || bytes > MOST_DIRECTORY || start + bytes !== zip.size - END.bytes) throw damaged("its directory is not where its end says");
  const view = await viewOf(zip, start, bytes);
  const entries: Entry[] = [];
  let at = 0;
  while (at < bytes) {
    const entry = at + CENTRAL.bytes <= bytes && entryAt(view, at);
    if (!entry) throw damaged("its directory cannot be read");
    entries.push(entry.entry);
    at = entry.end;
  }
  if (at !== bytes || entries.length !== all) throw damaged(`its directory has ${entries.length} files, but its end says ${all}`);
  let free = 0;
  for (const { name, at, packed } of [...entries].sort((one, other) => one.at - other.at)) {
    if (at < free) throw damaged(`${shown(name)} lies in another file`);
    free = at + LOCAL.bytes + name.length + packed;
  }
  if (free > start) throw damaged("a file lies in its directory");
  return entries;
}

function entryAt(view: DataView, at: number): { entry: Entry; end: number } | undefined {
  if (view.getUint32(at, true) !== CENTRAL.signature) return undefined;
  const [length, extra, comment] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [number, number, number];
  const end = at + CENTRAL.bytes + length + extra + comment;
  if (end > view.byteLength) return undefined;
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + CENTRAL.bytes, length));
  const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
  const [crc, packed, unpacked] = [16, 20, 24].map((field) => view.getUint32(at + field, true)) as [number, number, number];
  if ((flags & ~KNOWN_FLAGS) !== 0) throw damaged(`${shown(name)} is encrypted or of a newer kind`);
  if (method !== STORED && method !== DEFLATED) throw damaged(`${shown(name)} is packed by method ${method}; 0 and 8 are read`);
  return { entry: { name, flags, method, crc, packed, unpacked, at: view.getUint32(at + 42, true) }, end };
}

async function fileOf(zip: Blob, { name, flags, method, crc, packed, unpacked, at }: Entry): Promise<Uint8Array<ArrayBuffer>> {
  const view = await viewOf(zip, at, LOCAL.bytes);
  const [length, extra] = [view.getUint16(26, true), view.getUint16(28, true)];
  const sizes = [14, 18, 22].map((field) => view.getUint32(field, true));
  const says_the_same = (flags & SIZES_BEHIND) !== 0 || (sizes[0] === crc && sizes[1] === packed && sizes[2] === unpacked);
  const agrees = view.getUint32(0, true) === LOCAL.signature && view.getUint16(6, true) === flags && view.getUint16(8, true) === method;
  const start = at + LOCAL.bytes + length + extra;
  const written = new TextDecoder().decode(await zip.slice(at + LOCAL.bytes, at + LOCAL.bytes + length).arrayBuffer());
  if (!agrees || !says_the_same || written !== name || start + packed > zip.size) throw damaged(`${name} and the directory disagree`);
  const data = zip.slice(start, start + packed);
  const bytes = method === DEFLATED ? await inflated(name, data, unpacked) : new Uint8Array(await data.arrayBuffer());
  if (bytes.length !== unpacked || crc32(bytes) !== crc) throw damaged(`${name} is not what it was when it was packed`);
  return bytes;
}

/** Ends as soon as there is more than the directory says. */
async function inflated(name: string, data: Blob, unpacked: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(unpacked);
  let length = 0;
  let is_over = false;
  const inflate = new Inflate((piece, final) => {
    if (length + piece.length > unpacked) throw damaged(`${name} becomes larger than its directory says`);
    bytes.set(piece, length);
    length += piece.length;
    is_over = final;
  });
  try {
    for (let from = 0; from < data.size; from += PIECE.read) {
      const read = new Uint8Array(await data.slice(from, from + PIECE.read).arrayBuffer());
      for (let at = 0; at < read.length; at += PIECE.inflated) {
        inflate.push(read.subarray(at, at + PIECE.inflated), from + at + PIECE.inflated >= data.size);
      }
      await breathe();
    }
  } catch (thrown) {
    if ((thrown as Error).name === "TabtuneError") throw thrown;
    throw damaged(`${name} cannot be unpacked (${(thrown as Error).message})`);
  }
  if (!is_over || length !== unpacked) throw damaged(`${name} ends at byte ${length}, but its directory says ${unpacked}`);
  return bytes;
}

async function viewOf(blob: Blob, start: number, bytes: number): Promise<DataView> {
  const buffer = await blob.slice(start, start + bytes).arrayBuffer();
  if (buffer.byteLength !== bytes) throw damaged("it ends too early");
  return new DataView(buffer);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  return sum;
});

/** The sum of zip files (ISO 3309). */
function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) sum = TABLE[(sum ^ bytes[at]!) & 255]! ^ (sum >>> 8);
  return ~sum >>> 0;
}

function damaged(what: string) {
  return badAdapter(`the zip file is no adapter's: ${what}`);
}
