import { Dataset, type AdapterFiles } from "tabtune";
import { fileNameOf, stemOf, zipped } from "../library/adapter-files.js";
import { jsonlOf } from "../data/stored-rows.js";

/** Hands the adapter's files to the person as one archive of that name. */
export function downloadAdapter(name: string, files: AdapterFiles): void {
  handOver(fileNameOf(name), zipped(files));
}

/** Hands a kept dataset to the person as JSON lines. */
export async function downloadRows(name: string): Promise<void> {
  handOver(`${stemOf(name, "rows")}.jsonl`, await jsonlOf(await Dataset.open(name)));
}

/** Hands a file to the person, among their downloads. */
export function handOver(file_name: string, content: Blob): void {
  const address = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = address;
  link.download = file_name;
  link.click();
  // The download has begun by then; browsers keep what it needs.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
