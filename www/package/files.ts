import { failure } from "./errors.js";

/**
 * Where a folder lies: the address of one, the files a person picked (`<input webkitdirectory>` or a
 * drop), or a directory handle. Only the files directly in the folder count.
 */
export type FolderSource = string | URL | Iterable<File> | FileSystemDirectoryHandle;

/** A {@link FolderSource} in the form that travels to the worker. */
export type Folder =
  | { kind: "url"; base: string }
  | { kind: "blobs"; blobs: Record<string, Blob> }
  | { kind: "directory"; handle: FileSystemDirectoryHandle };

/** Random access to the files of a folder, as the engine reads them. */
export interface FilesReader {
  /** The length in bytes, or undefined where there is no such file. */
  size(name: string): Promise<number | undefined>;
  /** Exactly `len` bytes from `start`. */
  read(name: string, start: number, len: number): Promise<Uint8Array>;
}

/** Brings what the caller gave into a form that can be posted to the worker. */
export function folderOf(source: FolderSource): Folder {
  if (typeof source === "string" || source instanceof URL) {
    const base = new URL(source, globalThis.location?.href);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    return { kind: "url", base: base.href };
  }
  if (Symbol.iterator in source) {
    return { kind: "blobs", blobs: topLevel(source) };
  }
  return { kind: "directory", handle: source };
}

/** The picked files by name; of a picked directory only those directly in it. */
function topLevel(files: Iterable<File>): Record<string, Blob> {
  const blobs: Record<string, Blob> = {};
  for (const file of files) {
    if (file.webkitRelativePath.split("/").length <= 2) blobs[file.name] = file;
  }
  return blobs;
}

/** Opens a folder for reading. Each file is looked up once; ranges are slices of its Blob. */
export function openFolder(folder: Folder): FilesReader {
  const found = new Map<string, Promise<Blob | undefined>>();
  const blobOf = (name: string) => {
    let blob = found.get(name);
    if (!blob) found.set(name, (blob = find(folder, name)));
    return blob;
  };
  return {
    size: async (name) => (await blobOf(name))?.size,
    read: async (name, start, len) => {
      const blob = await blobOf(name);
      if (!blob) throw failure("io", `${name}: there is no such file`);
      const bytes = new Uint8Array(await blob.slice(start, start + len).arrayBuffer());
      if (bytes.length !== len) {
        throw failure("io", `${name}: ends at byte ${blob.size}, but bytes ${start} to ${start + len} were asked for`);
      }
      return bytes;
    },
  };
}

async function find(folder: Folder, name: string): Promise<Blob | undefined> {
  switch (folder.kind) {
    case "blobs":
      return Object.hasOwn(folder.blobs, name) ? folder.blobs[name] : undefined;
    case "directory":
      try {
        return await (await folder.handle.getFileHandle(name)).getFile();
      } catch (thrown) {
        if (thrown instanceof DOMException && thrown.name === "NotFoundError") return undefined;
        throw failure("io", `${name}: ${String(thrown)}`);
      }
    case "url":
      return fetchBlob(new URL(name, folder.base), name);
  }
}

/** The browser keeps a fetched Blob outside of the tab's heap, so a whole file may be one. */
async function fetchBlob(url: URL, name: string): Promise<Blob | undefined> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (thrown) {
    throw failure("io", `${url.href}: ${String(thrown)}`);
  }
  if (response.status === 404) return undefined;
  if (!response.ok) throw failure("io", `${url.href}: the server answered ${response.status}`);
  // Servers of single-page apps answer any address with their page.
  if (response.headers.get("content-type")?.startsWith("text/html") && !name.endsWith(".html")) return undefined;
  try {
    return await response.blob();
  } catch (thrown) {
    throw failure("io", `${url.href}: the download broke off (${String(thrown)})`);
  }
}
