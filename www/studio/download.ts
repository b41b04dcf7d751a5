import type { AdapterFiles } from "tabtune";
import { fileNameOf, zipped } from "./adapter-files.js";

/** Hands the adapter's files to the person as one archive of that name. */
export function downloadAdapter(name: string, files: AdapterFiles): void {
  const address = URL.createObjectURL(zipped(files));
  const link = document.createElement("a");
  link.href = address;
  link.download = fileNameOf(name);
  link.click();
  // The download has begun by then; browsers keep what it needs.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
