// Small adapters: those that PEFT wrote for the fixtures, and ones made up with whatever is wrong with them.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { words } from "../../tools/lib/drawing.mjs";
import { paths } from "../../tools/lib/paths.mjs";

const encoder = new TextEncoder();
const fixtures = join(paths.root, "tests/fixtures");

/** All folders of the fixtures that PEFT wrote an adapter to. */
export function adapterFolders() {
  const all = readdirSync(fixtures, { recursive: true, withFileTypes: true });
  return all.filter(({ name }) => name === "adapter_config.json").map(({ parentPath, path }) => parentPath ?? path).sort();
}

/** The two files in a folder. */
export function filesIn(folder) {
  const read = (name) => Uint8Array.from(readFileSync(join(folder, name)));
  return { "adapter_config.json": read("adapter_config.json"), "adapter_model.safetensors": read("adapter_model.safetensors") };
}

export const config = (more = {}) => ({
  peft_type: "LORA", task_type: "CAUSAL_LM", base_model_name_or_path: "somebody/small-model", r: 2, lora_alpha: 4,
  target_modules: ["q_proj"], bias: "none", ...more,
});

const PATH = "base_model.model.model.layers.3.self_attn.q_proj";

/** Two matrices of one module: name → { dtype, shape }. */
export const tensors = (more = {}) => ({
  [`${PATH}.lora_A.weight`]: { dtype: "F32", shape: [2, 8] },
  [`${PATH}.lora_B.weight`]: { dtype: "F32", shape: [8, 2] },
  ...more,
});

const WIDTHS = { F32: 4, F16: 2, BF16: 2, F64: 8, I8: 1 };

/** A safetensors file. An entry's own `data_offsets` stand as they are; `header` may change the text of the header. */
export function safetensors(entries, { header = (text) => text, fill = 0x3c, behind = [] } = {}) {
  const written = {};
  let end = 0;
  for (const [name, entry] of Object.entries(entries)) {
    const start = end;
    const bytes = WIDTHS[entry.dtype] * entry.shape.reduce((product, size) => product * size, 1);
    // What is too large, or less than nothing, is only said to be there.
    if (bytes > 0 && bytes < 1e6) end += bytes;
    written[name] = { data_offsets: [start, end], ...entry };
  }
  const text = encoder.encode(header(JSON.stringify({ __metadata__: { format: "pt" }, ...written })));
  const bytes = new Uint8Array(8 + text.length + end + behind.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.fill(fill, 8 + text.length, 8 + text.length + end);
  bytes.set(behind, 8 + text.length + end);
  return bytes;
}

/** An adapter's two files. */
export const adapter = (of_config = {}, entries = tensors(), options = {}) => ({
  "adapter_config.json": encoder.encode(JSON.stringify(config(of_config))),
  "adapter_model.safetensors": safetensors(entries, options),
});

/** Numbers from a seed: whole ones below `most`. */
export function random(seed) {
  const next = words(seed);
  return (most) => next() % most;
}
