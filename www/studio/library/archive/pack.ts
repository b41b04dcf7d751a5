import { throwIfStopped } from "./stopping.js";
import { MANIFEST, manifestOf, type ArchivedItem, type ArchivedModel } from "./manifest.js";
import { MOST_ARCHIVE, ZipWriter, type FileSum, type Sink } from "./zip.js";
import { MissingInput } from "../../ui/missing.js";

/** A file of an item, whole in memory. */
export interface PackedFile {
  name: string;
  content: Uint8Array<ArrayBuffer>;
  is_text: boolean;
}

/** Something that is to be packed. Its files are read one after the other, as they are written. */
export interface ToPack extends Omit<ArchivedItem, "files"> {
  /** About how much it is. */
  bytes: number;
  files(): AsyncIterable<PackedFile>;
}

/** What is told of more than an archive can hold. */
export const TOO_MUCH = "That is more than 4 GB, which one file cannot hold. Choose fewer things, and make two files.";

export interface Packing {
  items: ToPack[];
  models: ArchivedModel[];
  /** The version of this page. */
  page: string;
  signal: AbortSignal;
  /** Hears how far it has come, in percent. */
  report(percent: number): void;
}

/** Writes an archive of all of them. A sink that did not get all of it is told to keep nothing. */
export async function pack({ items, models, page, signal, report }: Packing, sink: Sink): Promise<void> {
  const total = items.reduce((sum, { bytes }) => sum + bytes, 0);
  try {
    if (total > MOST_ARCHIVE) throw new MissingInput(TOO_MUCH);
    const zip = new ZipWriter(sink);
    const packed: ArchivedItem[] = [];
    let done = 0;
    for (const [index, { files: filesOf, bytes, ...item }] of items.entries()) {
      const files: FileSum[] = [];
      let packed_bytes = 0;
      for await (const { name, content, is_text } of filesOf()) {
        throwIfStopped(signal);
        files.push(await zip.add(`items/${index + 1}/${name}`, content, is_text));
        packed_bytes += content.length;
        report((100 * (done + Math.min(bytes, packed_bytes))) / Math.max(1, total));
      }
      packed.push({ ...item, files });
      report((100 * (done += bytes)) / Math.max(1, total));
    }
    throwIfStopped(signal);
    await zip.add(MANIFEST, manifestOf(packed, models, page), false);
    await zip.close();
  } catch (thrown) {
    await sink.abort().catch(() => undefined);
    throw thrown;
  }
}
