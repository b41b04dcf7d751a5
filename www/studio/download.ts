import { zipSync } from "fflate";
import type { AdapterFiles } from "tabtune";

/** Hands the adapter's files to the person as one archive, stored as they are. */
export function downloadAdapter(files: AdapterFiles): void {
  const archive = new Blob([zipSync({ ...files }, { level: 0 })], { type: "application/zip" });
  const address = URL.createObjectURL(archive);
  const link = document.createElement("a");
  link.href = address;
  link.download = "adapter.zip";
  link.click();
  // The download has begun by then; browsers keep what it needs.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
