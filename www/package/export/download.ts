import type { ExportedFile } from "../types.js";

/** How long a download may take to begin. */
const BEGINS_MS = 60_000;

/** Hands files that lie in the browser's storage to the person. They are read from there, and never whole in memory. */
export async function download(folder: FileSystemDirectoryHandle, files: readonly ExportedFile[]): Promise<void> {
  for (const { name } of files) {
    const file = await (await folder.getFileHandle(name)).getFile();
    const address = URL.createObjectURL(file);
    const link = document.createElement("a");
    link.href = address;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), BEGINS_MS);
  }
}
