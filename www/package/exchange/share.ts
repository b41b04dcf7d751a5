import { failure } from "../errors.js";
import { badAdapter, checkFile, complete, isExchanged, mostBytes } from "./limits.js";
import type { ExchangedFiles, ExchangedName, ExchangeLimits } from "./limits.js";
import { unzipped, zipped } from "./zip.js";

/** What a person picked or dropped: a zip file as {@link adapterFile} makes it, or the files themselves. */
export type PickedAdapter = Blob | Iterable<File>;

/** How long a download may take to begin. */
const BEGINS_MS = 60_000;

/** An adapter as one file to pass on: a zip file with PEFT's two files and the card, if there is one. */
export function adapterFile(files: ExchangedFiles, name = "adapter"): File {
  for (const [name, bytes] of Object.entries(complete(files))) checkFile(name, bytes.length, { bytes: 2 ** 31 });
  const safe = name.normalize("NFC").replace(/[^\p{L}\p{N}._-]+/gu, "-").replace(/^[.-]+|[.-]+$/g, "").slice(0, 80);
  return new File([zipped(files)], `${safe || "adapter"}.zip`, { type: "application/zip" });
}

/**
 * The files of an adapter that came as one zip file or as several files, of which those that are no adapter's are left out. Throws
 * `bad-adapter` for a zip file that holds anything else, and for files that are missing, too large or there twice. What the files
 * say is not looked at: {@link checkAdapter} does.
 */
export async function readAdapter(picked: PickedAdapter, limits: ExchangeLimits = {}): Promise<ExchangedFiles> {
  if (picked instanceof Blob) {
    const most = Object.values(mostBytes(limits)).reduce((sum, bytes) => sum + bytes, 2 ** 16);
    if (picked.size > most) throw badAdapter(`the file has ${picked.size} bytes, more than the ${most} that are taken`);
    return unzipped(picked, limits);
  }
  const wanted = new Map<ExchangedName, File>();
  for (const file of picked) {
    if (!isExchanged(file.name)) continue;
    if (wanted.has(file.name)) throw badAdapter(`${file.name} is there twice: choose the files of one adapter`);
    checkFile(file.name, file.size, limits);
    wanted.set(file.name, file);
  }
  const files: Partial<ExchangedFiles> = {};
  for (const [name, file] of wanted) files[name] = new Uint8Array(await file.arrayBuffer());
  return complete(files);
}

/**
 * Hands a file to the system's share sheet, or where that is not to be had, or takes no such files, as a download. Has to be called by a click.
 * "cancelled" where the person closed the sheet.
 */
export async function share(file: File): Promise<"shared" | "downloaded" | "cancelled"> {
  const data = { files: [file], title: file.name };
  if (navigator.canShare?.(data)) {
    try {
      await navigator.share(data);
      return "shared";
    } catch (thrown) {
      const { name } = thrown as Error;
      if (name === "AbortError") return "cancelled";
      // Without a click just before, or where the system's sheet is not to be had after all.
      if (name !== "NotAllowedError" && name !== "DataError") throw failure("io", `${file.name} could not be shared: ${String(thrown)}`);
    }
  }
  const address = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = address;
  link.download = file.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), BEGINS_MS);
  return "downloaded";
}
