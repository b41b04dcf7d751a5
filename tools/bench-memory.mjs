// What `./build.sh bench memory` runs: how far saving and resuming a large adapter raises the WebAssembly heap of a tab.
import { createWriteStream, copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { serve } from "./lib/server.mjs";

/** The shape of SmolLM2-135M. */
const SHAPE = {
  model_type: "llama",
  architectures: ["LlamaForCausalLM"],
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  hidden_act: "silu",
  tie_word_embeddings: true,
  torch_dtype: "float16",
};

/** The bytes that saving and resuming may add to the heap of training. */
const MOST_ADDED = 32e6;

/** Names and shapes of all tensors, in the order of their data. */
function tensorsOf({ vocab_size, hidden_size: hidden, intermediate_size: inner, num_hidden_layers, num_attention_heads, num_key_value_heads }) {
  const keys = (hidden / num_attention_heads) * num_key_value_heads;
  const ofLayer = (layer) =>
    Object.entries({
      input_layernorm: [hidden],
      post_attention_layernorm: [hidden],
      "self_attn.q_proj": [hidden, hidden],
      "self_attn.k_proj": [keys, hidden],
      "self_attn.v_proj": [keys, hidden],
      "self_attn.o_proj": [hidden, hidden],
      "mlp.gate_proj": [inner, hidden],
      "mlp.up_proj": [inner, hidden],
      "mlp.down_proj": [hidden, inner],
    }).map(([name, shape]) => [`model.layers.${layer}.${name}.weight`, shape]);
  const layers = Array.from({ length: num_hidden_layers }, (_, layer) => ofLayer(layer)).flat();
  return [["model.embed_tokens.weight", [vocab_size, hidden]], ...layers, ["model.norm.weight", [hidden]]];
}

/** Writes a model of that shape with made-up weights in F16: norms are one, other values between 2⁻⁷ and 2⁻⁵. */
async function writeModel(folder) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "config.json"), JSON.stringify(SHAPE));
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) copyFileSync(join(paths.model, name), join(folder, name));
  let end = 0;
  const header = {};
  const tensors = tensorsOf(SHAPE);
  for (const [name, shape] of tensors) {
    const start = end;
    end += 2 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  let state = 1;
  const random = Uint16Array.from({ length: 1 << 20 }, () => ((state = (state * 48271) % 2147483647) & 0x87ff) | 0x2000);
  const ones = new Uint16Array(SHAPE.hidden_size).fill(0x3c00);
  const file = createWriteStream(join(folder, "model.safetensors"));
  const write = async (bytes) => file.write(bytes) || (await once(file, "drain"));
  await write(length);
  await write(json);
  for (const [, shape] of tensors) {
    let left = shape.reduce((product, size) => product * size, 1);
    const from = shape.length === 1 ? ones : random;
    while (left > 0) {
      const count = Math.min(left, from.length);
      await write(new Uint8Array(from.buffer, 0, 2 * count));
      left -= count;
    }
  }
  file.end();
  await once(file, "finish");
}

/** Runs in the page: makes `run`, takes a step of it, and tells the size of the WebAssembly heap at each point. */
async function step({ rank, run, saves }) {
  const { tabtune, importFrom } = globalThis.runner;
  const rows = await importFrom("rows", "/rows.jsonl");
  const trainer = await tabtune.Trainer.load("/large/", {
    quantization: { load_in_4bit: true },
    lora: { r: rank, target_modules: "all-linear" },
    train: { max_length: 16, max_steps: 2, per_device_train_batch_size: 1, save_steps: 1 },
  });
  const heap = async () => (await trainer.counters()).wasm_heap_bytes;
  const heaps = { loaded: await heap() };
  const plan = await trainer.prepare(rows, run);
  heaps.prepared = await heap();
  let checkpoint;
  for await (const log of trainer.train()) {
    if ("loss" in log) checkpoint = log.checkpoint;
    break;
  }
  heaps.stepped = await heap();
  let adapter = 0;
  if (saves) {
    const files = await trainer.save();
    adapter = files["adapter_model.safetensors"].length;
    heaps.saved = await heap();
    await trainer.adapters.load("again", files);
    heaps.loaded_again = await heap();
  }
  await trainer.dispose();
  return { heaps, checkpoint: checkpoint?.bytes, adapter, resumed: plan.resumed?.step };
}

const megabytes = (bytes) => Math.round(bytes / 1e5) / 10;

/** Trains without saving, saves, exports and resumes, each in a tab of its own; false where too much was added. */
async function measure(rank, report) {
  const folder = join(paths.root, "target/bench-memory");
  await writeModel(folder);
  const server = await serve({ "/": paths.dist, "/tabtune/": paths.package, "/runner/": paths.runner, "/rows.jsonl": paths.data, "/large/": folder });
  const browser = await launch();
  try {
    const inTab = async (job) => {
      const page = await browser.newPage();
      page.setDefaultTimeout(0);
      await page.goto(`${server.origin}/runner/`);
      await page.waitForFunction(() => "runner" in globalThis);
      const result = await page.evaluate(step, { rank, ...job });
      await page.close();
      return result;
    };
    const name = "large";
    const trained = await inTab({ run: { run_name: null } });
    const peak = ({ heaps }) => Math.max(...Object.values(heaps));
    const tell = (kind, result) => {
      const heaps = Object.fromEntries(Object.entries(result.heaps).map(([at, bytes]) => [`heap_${at}`, megabytes(bytes)]));
      const added = peak(result) - peak(trained);
      report(kind, { ...heaps, checkpoint_megabytes: megabytes(result.checkpoint ?? 0), adapter_megabytes: megabytes(result.adapter), added_megabytes: megabytes(added) });
      return added;
    };
    tell("train", trained);
    const saved = tell("save", await inTab({ run: { run_name: name, overwrite: true }, saves: true }));
    const again = await inTab({ run: { run_name: name, resume_from_checkpoint: true } });
    if (again.resumed === undefined) throw new Error("the run was not resumed");
    const resumed = tell("resume", again);
    return Math.max(saved, resumed) <= MOST_ADDED;
  } finally {
    await browser.close();
    await server.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const asked = process.argv.indexOf("--rank");
  const fits = await measure(asked < 0 ? 128 : Number(process.argv[asked + 1]), (kind, values) => console.log(JSON.stringify({ kind, ...values })));
  if (!fits) {
    console.error(`saving or resuming adds more than ${megabytes(MOST_ADDED)} MB`);
    process.exit(1);
  }
}
