// llama.cpp makes of awkward texts the ids that our tokenizers, which are held to transformers', make of them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { getLlama } from "node-llama-cpp";
import { paths } from "../../tools/lib/paths.mjs";

const kindsFolder = path.join(paths.root, "tests/fixtures/tokens/kinds");
const { texts, kinds } = JSON.parse(readFileSync(path.join(kindsFolder, "expected.json"), "utf8"));
const work = mkdtempSync(path.join(tmpdir(), "tabtune-llama-"));
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, progressLogs: false, logLevel: "error", maxThreads: 1 });
after(async () => {
  await llama.dispose();
  rmSync(work, { recursive: true });
});

/** The byte-level ones. llama.cpp's SentencePiece puts other blanks before a text than these files say. */
const KINDS = ["gpt2", "granite", "llama3", "phi4", "qwen", "tekken"];

const SIZE = 8;

/** The smallest Llama around a tokenizer: one layer of zeros. */
function folderOf(kind) {
  const folder = path.join(work, kind);
  cpSync(path.join(kindsFolder, kind), folder, { recursive: true });
  const tokenizer = JSON.parse(readFileSync(path.join(folder, "tokenizer.json"), "utf8"));
  const ids = [...Object.values(tokenizer.model.vocab), ...tokenizer.added_tokens.map(({ id }) => id)];
  const vocab_size = Math.max(...ids) + 1;
  const one = ["q", "k", "v", "o"].map((name) => `self_attn.${name}_proj`);
  const matrices = [...one, ...["gate", "up", "down"].map((name) => `mlp.${name}_proj`)];
  const norms = ["layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm"];
  const shapes = Object.fromEntries([
    ["model.embed_tokens.weight", [vocab_size, SIZE]],
    ...matrices.map((name) => [`model.layers.0.${name}.weight`, [SIZE, SIZE]]),
    ...norms.map((name) => [`model.${name}.weight`, [SIZE]]),
  ]);
  const header = {};
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const start = end;
    end += 4 * shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype: "F32", shape, data_offsets: [start, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(path.join(folder, "model.safetensors"), Buffer.concat([length, json, Buffer.alloc(end)]));
  const sizes = { hidden_size: SIZE, intermediate_size: SIZE, num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1 };
  const rest = { max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 1e4, tie_word_embeddings: true };
  writeFileSync(path.join(folder, "config.json"), JSON.stringify({ model_type: "llama", vocab_size, ...sizes, ...rest }));
  return folder;
}

for (const kind of KINDS) {
  test(`${kind}: ids of awkward texts`, async () => {
    const out = path.join(work, `${kind}.gguf`);
    const args = ["export", "--model", folderOf(kind), "--format", "gguf", "--out", out];
    execFileSync(path.join(paths.root, "target/debug/tabtune-train"), args, { stdio: ["ignore", "ignore", "inherit"] });
    const model = await llama.loadModel({ modelPath: out, vocabOnly: true });
    try {
      for (const [index, text] of texts.entries()) {
        // Qwen's tokenizer composes characters first, which llama.cpp leaves to others.
        if (kind === "qwen" && text.normalize("NFC") !== text) continue;
        assert.deepEqual(model.tokenize(text, true), kinds[kind].ids[index], JSON.stringify(text));
      }
    } finally {
      await model.dispose();
    }
  });
}
