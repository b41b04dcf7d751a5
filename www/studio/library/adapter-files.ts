import { unzipSync, zipSync } from "fflate";
import type { AdapterFiles } from "tabtune";
import { CARD_FILE, verify, type ExchangedFiles } from "tabtune/exchange";
import { MissingInput } from "../ui/missing.js";
import { namedBy, type ModelName } from "../train/model-name.js";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

/** An adapter that a person brought. */
export interface Brought {
  name: string;
  files: AdapterFiles;
  /** The model that it says it was trained on. */
  base: ModelName | undefined;
  /** Who signed the card beside it, if somebody did. */
  signed_by: { name: string; fingerprint: string } | undefined;
}

/** Files of an adapter that lie side by side. */
interface Folder {
  name: string;
  /** Where it is, for people. */
  place: string;
  files: Partial<ExchangedFiles>;
}

/** Reads an adapter out of a zip archive, or out of its two files. Where a card lies beside them, they must be what it was written for. */
export async function broughtAdapter(picked: File[]): Promise<Brought> {
  const loose: Folder = { name: "adapter", place: "the files beside it", files: {} };
  const folders = [loose];
  for (const file of picked) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (isZip(bytes)) folders.push(...foldersIn(file.name, bytes));
    else if (isOfAdapter(file.name)) loose.files[file.name] = bytes;
  }
  const [found, ...more] = folders.filter(isWhole);
  if (!found) {
    throw new MissingInput(`That is no adapter: choose a zip file with ${CONFIG} and ${WEIGHTS} in it, or these two files together.`);
  }
  if (more.length > 0) {
    const places = [found, ...more].map(({ place }) => place).join(", ");
    throw new MissingInput(`There is more than one adapter: ${places}. Unpack them, and choose the two files of one.`);
  }
  const { signed, by, fingerprint } = await verify(found.files);
  const signed_by = signed === "yes" ? { name: by ?? "", fingerprint: fingerprint ?? "" } : undefined;
  const files = { [CONFIG]: found.files[CONFIG], [WEIGHTS]: found.files[WEIGHTS] };
  return { name: found.name, files, base: namedBy(baseIn(found.files[CONFIG])), signed_by };
}

/** The adapter's files as one archive, stored as they are. */
export function zipped(files: AdapterFiles): Blob {
  return new Blob([zipSync({ ...files }, { level: 0 })], { type: "application/zip" });
}

/** What a download is called. */
export function fileNameOf(name: string): string {
  return `${stemOf(name)}.zip`;
}

/** The name without what file systems dislike, and without the ending of a file of rows; `nameless` where nothing is left. */
export function stemOf(name: string, nameless = "adapter"): string {
  const plain = name.replace(/\.(csv|tsv|jsonl?|ndjson|txt|md|parquet|xlsx|gz)\b/gi, "").replace(/[^\p{L}\p{N}._-]+/gu, "-");
  return plain.replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || nameless;
}

/** Whether that is how a zip file begins. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 3 && bytes[3] === 4; // PK
}

function isOfAdapter(name: string): name is keyof ExchangedFiles {
  return name === CONFIG || name === WEIGHTS || name === CARD_FILE;
}

function isWhole(folder: Folder): folder is Folder & { files: ExchangedFiles } {
  return folder.files[CONFIG] !== undefined && folder.files[WEIGHTS] !== undefined;
}

/** The folders of an archive that have files of an adapter. */
function foldersIn(archive: string, bytes: Uint8Array<ArrayBuffer>): Folder[] {
  const folders = new Map<string, Folder>();
  for (const [path, content] of Object.entries(unzipped(archive, bytes))) {
    const [file, above] = split(path);
    const folder = folders.get(above) ?? { name: archive.replace(/\.zip$/i, ""), place: above || archive, files: {} };
    folders.set(above, folder);
    if (isOfAdapter(file)) folder.files[file] = content;
  }
  return [...folders.values()];
}

function unzipped(name: string, bytes: Uint8Array<ArrayBuffer>): Record<string, Uint8Array<ArrayBuffer>> {
  try {
    return unzipSync(bytes, { filter: ({ name: path }) => isOfAdapter(split(path)[0]) }) as Record<string, Uint8Array<ArrayBuffer>>;
  } catch {
    throw new MissingInput(`${name} is damaged: it cannot be unpacked.`);
  }
}

/** The file's own name, and the folder that it is in. Some programs write backslashes. */
function split(path: string): [string, string] {
  const parts = path.split(/[\\/]/);
  return [parts.pop()!, parts.join("/")];
}

function baseIn(config: Uint8Array): unknown {
  try {
    return (JSON.parse(new TextDecoder().decode(config)) as { base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
  } catch {
    throw new MissingInput(`${CONFIG} is damaged: it is no JSON.`);
  }
}
