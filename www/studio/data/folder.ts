type DirectoryPicker = () => Promise<FileSystemDirectoryHandle>;

/** A folder as the browser at hand gives it. */
export type Directory = FileSystemDirectoryHandle | File[];

const picker = (window as { showDirectoryPicker?: DirectoryPicker }).showDirectoryPicker;

/**
 * Lets `button` choose a folder, through the hidden `input` where the browser has no dialog for folders.
 * `chosen` is told the folder and its name.
 */
export function watchFolder(
  button: HTMLElement,
  input: HTMLInputElement,
  chosen: (folder: Directory, name: string) => void,
): void {
  button.addEventListener("click", async () => {
    if (!picker) return input.click();
    try {
      const folder = await picker.call(window);
      chosen(folder, folder.name);
    } catch (thrown) {
      // Closing the dialog without choosing is no error.
      if (!(thrown instanceof DOMException && thrown.name === "AbortError")) throw thrown;
    }
  });
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    if (files.length > 0) chosen(files, files[0]!.webkitRelativePath.split("/")[0]!);
  });
}
