import { handOver } from "../../ui/download.js";
import type { Sink } from "./zip.js";

type Picker = (options: object) => Promise<FileSystemFileHandle>;

/** A sink, and where it puts the archive, for people. */
export interface Target extends Sink {
  place: string;
}

/**
 * Where an archive of that name goes: into a file that the person picks, to which it is written as it is made, or to their downloads
 * where browsers cannot ask. Undefined where none was picked. Browsers open their picker right after a click alone.
 */
export async function pickTarget(name: string): Promise<Target | undefined> {
  const { showSaveFilePicker } = globalThis as { showSaveFilePicker?: Picker };
  if (!showSaveFilePicker) return downloadOf(name);
  try {
    const types = [{ description: "A library of tabtune", accept: { "application/zip": [".tabtune"] } }];
    const handle = await showSaveFilePicker.call(globalThis, { suggestedName: name, types });
    const file = await handle.createWritable();
    return {
      place: `in “${handle.name}”`,
      write: (piece) => file.write(piece),
      close: () => file.close(),
      abort: () => file.abort(),
    };
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === "AbortError") return undefined;
    throw thrown;
  }
}

/** The browser puts what lies in a Blob somewhere, so that a large archive is not in memory as a whole. */
function downloadOf(name: string): Target {
  let parts: Blob[] = [];
  return {
    place: "among your downloads",
    write: async (piece) => void parts.push(new Blob([piece])),
    close: async () => handOver(name, new Blob(parts, { type: "application/zip" })),
    abort: async () => void (parts = []),
  };
}
