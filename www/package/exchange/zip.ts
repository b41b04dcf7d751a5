import { zipSync } from "fflate";
import { badAdapter, checkFile, complete, type ExchangedFiles, type ExchangeLimits } from "./limits.js";
import { openZip } from "./unzip.js";

/** Bytes of a directory of as many files as an adapter has, with what systems write beside names. */
const MOST_DIRECTORY = 16 << 10;
/** How much larger all files may be unpacked: zeros of a fresh adapter are half of it. */
const MOST_TIMES = 100;

/** Packs files without making them smaller, which weights hardly become. The same files give the same bytes. */
export function zipped(files: ExchangedFiles): Uint8Array<ArrayBuffer> {
  const mtime = new Date(1980, 0, 1);
  const entries = Object.entries(files).sort(([one], [other]) => (one < other ? -1 : 1));
  return zipSync(Object.fromEntries(entries.map(([name, bytes]) => [name, [bytes, { level: 0, mtime }]])));
}

/** The files in a zip. Throws `bad-adapter` for one that is damaged or holds anything but an adapter's files, each once. */
export async function unzipped(zip: Blob, limits: ExchangeLimits): Promise<ExchangedFiles> {
  const entries = await openZip(zip, { directory: MOST_DIRECTORY, refuse: (_, found) => noAdapter(found) });
  for (const { name, bytes } of entries) checkFile(name, bytes, limits);
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > MOST_TIMES * zip.size) throw noAdapter(`its files would become more than ${MOST_TIMES} times as large`);
  const files: Partial<ExchangedFiles> = {};
  for (const entry of entries) files[entry.name as keyof ExchangedFiles] = await entry.read();
  return complete(files);
}

function noAdapter(found: string) {
  return badAdapter(`the zip file is no adapter's: ${found}`);
}
