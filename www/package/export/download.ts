import { sleep } from "../sleep.js";
import type { ExportedFile } from "../types.js";

/** How long a download may take to begin. */
const BEGINS_MS = 60_000;

/** WebKit drops a download that another one follows at once. */
const APART_SECONDS = 0.5;

/** Hands files that lie in the browser's storage to the person. They are read from there, and never whole in memory. */
export async function download(folder: FileSystemDirectoryHandle, files: readonly ExportedFile[]): Promise<void> {
  for (const { name } of files) {
    const file = await (await folder.getFileHandle(name)).getFile();
    // Of a type that they know browsers add an ending to a name without one, such as Modelfile.
    const address = URL.createObjectURL(file.slice(0, file.size, "application/octet-stream"));
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), BEGINS_MS);
    await sleep(APART_SECONDS, undefined);
  }
}
