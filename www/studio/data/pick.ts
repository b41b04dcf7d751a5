import { element, show, write } from "../ui/dom.js";
import { watchFolder } from "./folder.js";
import { pastedName } from "./pasted.js";

/** Data that a person picked. */
export interface Picked {
  source: File | File[] | FileSystemDirectoryHandle;
  name: string;
}

/** Data from a drop zone, its picker of files, a button for folders, and the clipboard while the zone is there. */
export function watchData(on_pick: (picked: Picked) => void): void {
  const take = (picked: Picked) => {
    write("rows-name", picked.name);
    on_pick(picked);
  };
  watchZone("drop", "rows", (files) => take(ofFiles(files)), (folder) => take({ source: folder, name: folder.name }));
  watchFolder(element("pick-rows"), element<HTMLInputElement>("rows-folder"), (source, name) => take({ source, name }));
  addEventListener("paste", ({ target, clipboardData }) => {
    const is_wanted = element("drop").checkVisibility() && !element("rows").matches(":disabled");
    if (!is_wanted || (target as Element).closest("input:not([type=radio], [type=file]), select, textarea")) return;
    const files = [...(clipboardData?.files ?? [])];
    const text = clipboardData?.getData("text/plain") ?? "";
    if (files.length > 0) take(ofFiles(files));
    else if (text.trim()) take(ofFiles([new File([text], pastedName(text))]));
  });
}

/** One optional file from a small drop zone, which can be taken back. */
export function watchHeldout(on_pick: (file: File | undefined) => void): void {
  const none = element("heldout-name").textContent;
  const take = (file: File | undefined) => {
    write("heldout-name", file?.name ?? none);
    show("no-heldout", file !== undefined);
    on_pick(file);
  };
  watchZone("drop-heldout", "heldout", ([file]) => take(file));
  element("no-heldout").addEventListener("click", () => take(undefined));
}

function ofFiles(files: File[]): Picked {
  const [first] = files;
  if (files.length === 1) return { source: first!, name: first!.name };
  return { source: files, name: `${first!.name} and ${files.length - 1} more` };
}

function watchZone(
  zone_id: string,
  input_id: string,
  on_files: (files: File[]) => void,
  on_folder?: (folder: FileSystemDirectoryHandle) => void,
): void {
  const zone = element(zone_id);
  const input = element<HTMLInputElement>(input_id);
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    if (files.length > 0) on_files(files);
    // Choosing the same file once more is to be told too.
    input.value = "";
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (input.matches(":disabled")) return;
    const { items, files } = event.dataTransfer!;
    const dropped = [...files];
    // What was dropped can be asked for only before the first wait.
    const folder = on_folder && (await directoryIn(items));
    if (folder) on_folder(folder);
    else if (dropped.length > 0) on_files(dropped);
  });
}

/** The folder that was dropped, where the browser gives folders. */
async function directoryIn(items: DataTransferItemList): Promise<FileSystemDirectoryHandle | undefined> {
  const item = items[0] as (DataTransferItem & { getAsFileSystemHandle?(): Promise<FileSystemHandle | null> }) | undefined;
  const handle = await item?.getAsFileSystemHandle?.();
  return handle?.kind === "directory" ? (handle as FileSystemDirectoryHandle) : undefined;
}
