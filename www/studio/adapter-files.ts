import { unzipSync, zipSync } from "fflate";
import type { AdapterFiles } from "tabtune";
import { namedBy, type ModelName } from "./model-name.js";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";

/** Why some files are no adapter. */
export class NoAdapter extends Error {}

/** An adapter that a person brought. */
export interface Brought {
  name: string;
  files: AdapterFiles;
  /** The model that it says it was trained on. */
  base: ModelName | undefined;
}

/** Reads an adapter out of a zip archive, or out of its two files. */
export async function broughtAdapter(picked: File[]): Promise<Brought> {
  const found = new Map<string, Uint8Array<ArrayBuffer>>();
  let name = "adapter";
  for (const file of picked) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (isZip(bytes)) {
      name = file.name.replace(/\.zip$/i, "");
      for (const [path, content] of Object.entries(unzipped(file.name, bytes))) found.set(lastPart(path), content);
    } else found.set(file.name, bytes);
  }
  const config = found.get(CONFIG);
  const weights = found.get(WEIGHTS);
  if (!config || !weights) {
    throw new NoAdapter(`That is no adapter: choose a zip file with ${CONFIG} and ${WEIGHTS} in it, or these two files together.`);
  }
  return { name, files: { [CONFIG]: config, [WEIGHTS]: weights }, base: namedBy(baseIn(config)) };
}

/** The adapter's files as one archive, stored as they are. */
export function zipped(files: AdapterFiles): Blob {
  return new Blob([zipSync({ ...files }, { level: 0 })], { type: "application/zip" });
}

/** What a download is called: the name without what file systems dislike. */
export function fileNameOf(name: string): string {
  const plain = name.replace(/\.(csv|tsv|jsonl?|ndjson|txt|md|parquet|xlsx|gz)\b/gi, "").replace(/[^\p{L}\p{N}._-]+/gu, "-");
  return `${plain.replace(/^[-.]+|[-.]+$/g, "").slice(0, 80) || "adapter"}.zip`;
}

function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b;
}

function unzipped(name: string, bytes: Uint8Array<ArrayBuffer>): Record<string, Uint8Array<ArrayBuffer>> {
  try {
    const filter = ({ name: path }: { name: string }) => [CONFIG, WEIGHTS].includes(lastPart(path));
    return unzipSync(bytes, { filter }) as Record<string, Uint8Array<ArrayBuffer>>;
  } catch {
    throw new NoAdapter(`${name} is damaged: it cannot be unpacked.`);
  }
}

function lastPart(path: string): string {
  return path.split("/").at(-1)!;
}

function baseIn(config: Uint8Array): unknown {
  try {
    return (JSON.parse(new TextDecoder().decode(config)) as { base_model_name_or_path?: unknown } | null)?.base_model_name_or_path;
  } catch {
    throw new NoAdapter(`${CONFIG} is damaged: it is no JSON.`);
  }
}
