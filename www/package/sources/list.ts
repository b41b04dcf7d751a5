import { failure, TabtuneError } from "../errors.js";

/** The endings of the files that are read out of many, each also with `.gz` behind it. */
const EXTENSIONS = ["jsonl", "ndjson", "json", "csv", "tsv", "tab", "txt", "md", "markdown", "parquet"];

const READABLE = new RegExp(`\\.(${EXTENSIONS.join("|")})(\\.gz)?$`, "i");

/**
 * Those of the files that can be read, in the order of their paths. Below the folder that was picked, what is
 * hidden is left out: those are the copies and settings of other programs. None left is a failure.
 */
export function readable<T extends { path: string }>(files: T[], from: string): T[] {
  const is_hidden = (path: string) => path.split("/").slice(1).some((part) => part.startsWith("."));
  const found = files.filter(({ path }) => READABLE.test(path) && !is_hidden(path));
  if (found.length === 0) {
    const endings = EXTENSIONS.map((extension) => `.${extension}`).join(", ");
    const message = `${from}: none of its ${files.length} files is one of ${endings} (also with .gz)`;
    throw failure("bad-data", message);
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Every file in the directory and below, with its path, which begins with the directory's own name. */
export async function filesBelow(
  directory: FileSystemDirectoryHandle,
  parent = "",
): Promise<{ path: string; handle: FileSystemFileHandle }[]> {
  // The root of the origin's private file system has no name.
  const path = directory.name ? `${parent}${directory.name}/` : parent;
  const files = [];
  try {
    for await (const handle of directory.values()) {
      if (handle.kind === "file") files.push({ path: `${path}${handle.name}`, handle });
      else files.push(...(await filesBelow(handle, path)));
    }
  } catch (thrown) {
    if (thrown instanceof TabtuneError) throw thrown;
    throw failure("io", `${path}: ${String(thrown)}`);
  }
  return files;
}
