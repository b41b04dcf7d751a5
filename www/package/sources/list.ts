import { failure, TabtuneError } from "../errors.js";
import type { IgnoredFile } from "../types.js";
import { splitsOf } from "./splits.js";

/** The endings of the files that are read out of many, each also with `.gz` behind it. */
const EXTENSIONS = ["jsonl", "ndjson", "json", "csv", "tsv", "tab", "txt", "md", "markdown", "parquet", "xlsx"];

const READABLE = new RegExp(`\\.(${EXTENSIONS.join("|")})(\\.gz)?$`, "i");

/** Files that describe a dataset, a model or a project: those that `datasets` passes over, and their like. */
const DESCRIPTIONS = new RegExp(
  "^((readme|licen[cs]e|copying|changelog|contributing|code_of_conduct|citation)(\\.(md|markdown|txt))*" +
    "|(dataset_infos?|dataset_dict|dataset-metadata|metadata|manifest|schema|croissant|state|package|package-lock|" +
    "tsconfig|config|generation_config|tokenizer|tokenizer_config|special_tokens_map|adapter_config|vocab)\\.json" +
    "|requirements.*\\.txt|robots\\.txt)$",
  "i",
);

/**
 * Those of the files that are data, in the order of their paths, and the others with the reason. In a folder what
 * is hidden is left out, as are descriptions; of several splits, those that are not "train". None left is a failure.
 */
export function readable<T extends { path: string }>(files: T[], from: string): { files: T[]; ignored: IgnoredFile[] } {
  const ignored: IgnoredFile[] = [];
  const kept = (among: T[], reasonOf: (file: T) => string | undefined) =>
    among.filter((file) => {
      const reason = reasonOf(file);
      if (reason !== undefined) ignored.push({ file: file.path, reason });
      return reason === undefined;
    });
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const plain = kept(sorted, ({ path }) => {
    if (isHidden(path)) return "is hidden";
    return READABLE.test(path) ? undefined : "is no kind of file that is read";
  });
  const data = plain.filter(({ path }) => !DESCRIPTIONS.test(fileName(path)));
  // A person who picks nothing but a README means it; a folder only happens to have one.
  const is_meant = data.length === 0 && plain.every(({ path }) => !path.includes("/"));
  const rows = is_meant ? plain : kept(plain, (file) => (data.includes(file) ? undefined : "describes the data"));
  if (rows.length === 0) {
    const endings = EXTENSIONS.map((extension) => `.${extension}`).join(", ");
    const message = `${from}: none of its ${files.length} files holds data: one of ${endings} (also with .gz)`;
    throw failure("bad-data", message);
  }
  const reasons = splitsOf(rows.map(({ path }) => path));
  return { files: kept(rows, ({ path }) => reasons.get(path)), ignored };
}

function fileName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Copies and settings of other programs, below the folder that was picked. */
function isHidden(path: string): boolean {
  const below = path.split("/").slice(1);
  return below.some((part) => part.startsWith(".") || part === "__MACOSX");
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
