import { failure, TabtuneError } from "./errors.js";
import { remoteFolder, type HubOptions, type RemoteFolder } from "./hub/folder.js";
import { TUNING, type OpenOptions, type Tuning } from "./hub/job.js";
import { chosenGguf, isGguf, splitFile, splitTag } from "./gguf.js";
import { fromBlob, type OpenFile } from "./hub/opened.js";
import { remoteFinder, type Finder } from "./hub/remote.js";

import type { AdapterFiles } from "./types.js";

export type { HubOptions } from "./hub/folder.js";

/**
 * Where a folder lies: a model's id on a hub ("owner/name") or its page there, the address of a folder, the files a person
 * picked (`<input webkitdirectory>` or a drop), or a directory handle. Only the files directly in the
 * folder count. A model may be a GGUF too: a `File`, its address, or a hub's id with the file's name or encoding behind it
 * ("owner/name:Q4_K_M").
 */
export type FolderSource = string | URL | File | Iterable<File> | FileSystemDirectoryHandle;

/** A {@link FolderSource} in the form that travels to the worker, with the GGUF that was asked for: a file's name, or its encoding. */
export type Folder = (
  | RemoteFolder
  | { kind: "blobs"; blobs: Record<string, Blob>; name: string | undefined }
  | { kind: "directory"; handle: FileSystemDirectoryHandle }
) & { gguf?: string };

/** Random access to the files of a folder, as the engine reads them. */
export interface FilesReader {
  /** What people call the folder, where it has a name. */
  place: string | undefined;
  /** The GGUF that is the model; undefined for a folder of Hugging Face's. */
  gguf?: string | undefined;
  /** The length in bytes, or undefined where there is no such file. */
  size(name: string): Promise<number | undefined>;
  /** Exactly `len` bytes from `start`. */
  read(name: string, start: number, len: number): Promise<Uint8Array>;
}

/**
 * Brings what the caller gave into a form that can be posted to the worker. A string of the shape
 * "owner/name" is a hub id, and the address of a model's page on the hub stands for the same; any other is the
 * address of a folder, and "./owner/name" or "owner/name/" makes one of the first.
 */
export function folderOf(source: FolderSource, options: HubOptions = {}): Folder {
  if ((typeof source === "string" && source !== "") || source instanceof URL) {
    const [id, tag] = splitTag(String(source));
    const [address, file] = tag === undefined ? splitFile(id) : [id, tag];
    try {
      return { ...remoteFolder(address, options), ...(file !== undefined && { gguf: file }) };
    } catch (thrown) {
      if (thrown instanceof TabtuneError) throw thrown;
      const hub = options.hub === undefined ? "" : `, or the hub ${options.hub} is none`;
      throw failure("bad-option", `${source} is neither the id of a model on a hub nor an address${hub}`);
    }
  }
  if (typeof source === "object" && source !== null) {
    if (source instanceof Blob) {
      const name = source.name ?? "";
      if (!isGguf(name)) throw failure("bad-option", `${JSON.stringify(name)} is no GGUF; a model's folder is given by all its files`);
      return { kind: "blobs", blobs: { [name]: source }, name, gguf: name };
    }
    if (Symbol.iterator in source) {
      const files = [...source];
      return { kind: "blobs", blobs: topLevel(files), name: files[0]?.webkitRelativePath?.split("/")[0] || undefined };
    }
    if (source.kind === "directory") return { kind: "directory", handle: source };
  }
  const given = source === undefined || source === null || source === "" ? "nothing" : JSON.stringify(source);
  throw failure("bad-option", `a hub id, an address, picked files or a directory handle is needed, but ${given} was given`);
}

/** A folder with a PEFT adapter: one of files, or the files as {@link Trainer.save} gives them. */
export function adapterFolder(source: FolderSource | AdapterFiles, options: HubOptions): Folder {
  if (typeof source === "object" && source !== null && "adapter_config.json" in source) {
    const blobs = Object.entries(source).map(([name, bytes]) => [name, new Blob([bytes])]);
    return { kind: "blobs", blobs: Object.fromEntries(blobs), name: undefined };
  }
  return folderOf(source, options);
}

function placeOf(folder: Folder): string | undefined {
  switch (folder.kind) {
    case "hub":
      return folder.id;
    case "url":
      return folder.base;
    case "blobs":
      return folder.name;
    case "directory":
      return folder.handle.name || undefined;
  }
}

/** The picked files by name; of a picked directory only those directly in it. */
function topLevel(files: File[]): Record<string, Blob> {
  const blobs: Record<string, Blob> = {};
  for (const file of files) {
    if (!file.webkitRelativePath || file.webkitRelativePath.split("/").length <= 2) blobs[file.name] = file;
  }
  return blobs;
}

/** Opens a model for reading, as {@link openFolder}; which file of a folder is the model is looked up. */
export async function openModel(folder: Folder, options: OpenOptions = {}, tuning: Tuning = TUNING): Promise<FilesReader> {
  const find = finderOf(folder, options, tuning);
  const reader = readerOf(folder, find);
  const names = await find.names?.();
  // A server that lists nothing is asked for the file by its name.
  const gguf = names ? chosenGguf(names, folder.gguf, reader.place ?? "the folder") : folder.gguf;
  return { ...reader, gguf };
}

/**
 * Opens a folder for reading. Each file is looked up once. What lies on a server is downloaded by the
 * first read of a file, with progress told to `report`; aborting `signal` ends a download as `cancelled`
 * and keeps what came.
 */
export function openFolder(
  folder: Folder,
  options: OpenOptions = {},
  tuning: Tuning = TUNING,
): FilesReader {
  return readerOf(folder, finderOf(folder, options, tuning));
}

function readerOf(folder: Folder, find: Finder): FilesReader {
  const found = new Map<string, Promise<OpenFile | undefined>>();
  const open = (name: string) => {
    let file = found.get(name);
    if (!file) found.set(name, (file = find(name)));
    return file;
  };
  return {
    place: placeOf(folder),
    size: async (name) => (await open(name))?.size,
    read: async (name, start, len) => {
      const file = await open(name);
      if (!file) throw failure("io", `${name}: there is no such file`);
      if (start + len > file.size) {
        throw failure("io", `${name}: ends at byte ${file.size}, but bytes ${start} to ${start + len} were asked for`);
      }
      return file.read(start, len);
    },
  };
}

/** The names of the files in a directory. */
async function namesIn(handle: FileSystemDirectoryHandle): Promise<string[]> {
  const names = [];
  for await (const [name, { kind }] of entriesOf(handle)) if (kind === "file") names.push(name);
  return names;
}

/** TypeScript's own types of a directory do not have them yet. */
function entriesOf(handle: FileSystemDirectoryHandle): AsyncIterable<[string, FileSystemHandle]> {
  return handle as unknown as AsyncIterable<[string, FileSystemHandle]>;
}

function finderOf(folder: Folder, options: OpenOptions, tuning: Tuning): Finder {
  switch (folder.kind) {
    case "blobs": {
      const find = async (name: string) => {
        const blob = Object.hasOwn(folder.blobs, name) ? folder.blobs[name] : undefined;
        return blob && fromBlob(blob);
      };
      return Object.assign(find, { names: async () => Object.keys(folder.blobs) });
    }
    case "directory": {
      const find = async (name: string) => {
        try {
          return fromBlob(await (await folder.handle.getFileHandle(name)).getFile());
        } catch (thrown) {
          if (thrown instanceof DOMException && thrown.name === "NotFoundError") return undefined;
          throw failure("io", `${name}: ${String(thrown)}`);
        }
      };
      return Object.assign(find, { names: () => namesIn(folder.handle) });
    }
    case "url":
    case "hub":
      return remoteFinder(folder, options, tuning);
  }
}
