import type { AdapterFiles } from "tabtune";
import type { Archive } from "../archive.js";
import type { ArchivedItem } from "../manifest.js";
import type { PackedFile } from "../pack.js";

const [CONFIG, WEIGHTS] = ["adapter_config.json", "adapter_model.safetensors"] as const;

export function text(name: string, value: unknown): PackedFile {
  return { name, content: new TextEncoder().encode(JSON.stringify(value)), is_text: true };
}

export function* adapterFiles(files: AdapterFiles): Generator<PackedFile> {
  for (const name of [CONFIG, WEIGHTS]) yield { name, content: files[name], is_text: name.endsWith(".json") };
}

export async function adapterIn(archive: Archive, item: ArchivedItem): Promise<AdapterFiles> {
  return { [CONFIG]: await archive.needed(item, CONFIG), [WEIGHTS]: await archive.needed(item, WEIGHTS) };
}
