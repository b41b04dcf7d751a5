// The options of the package that the page has no field of its own for: how they are written, what they do, what is told of them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { studio } from "./page-modules.mjs";

const own = JSON.parse(readFileSync(join(paths.root, "www/studio/train/own-model.config.json"), "utf8"));
const bundled = JSON.parse(readFileSync(paths.config, "utf8"));
const source = (path) => readFileSync(join(paths.root, "www", path), "utf8");

/** Options that the page sets by fields of its own, and those that come to nothing there. */
const ELSEWHERE = {
  quantization: ["load_in_4bit", "load_in_8bit", "requantize", "bnb_4bit_quant_type"],
  lora: ["r", "use_dora", "task_type"],
  train: [
    "method", "beta", "finetuning_type", "optim", "learning_rate", "max_steps", "per_device_train_batch_size", "max_length", "assistant_only_loss",
    "completion_only_loss", "seed", "packing", "test_size", "load_best_model_at_end",
    // Steps are always given; a warm-up is said in steps, of which a fraction is a share; every step is logged.
    "num_train_epochs", "warmup_ratio", "logging_steps",
  ],
};

test("the page reaches every option of a run that the package has", async () => {
  const { ABOUT, OPTIONS } = await studio("train/finer-list.ts", "train/finer-about.ts");
  assert.deepEqual(OPTIONS.map(({ name }) => name).sort(), Object.keys(ABOUT).sort(), "each says what it is for");
  const listed = source("package/options.ts");
  for (const part of ["quantization", "lora", "train"]) {
    const block = new RegExp(`\\n  ${part}: \\{([^}]*)\\}`).exec(listed.slice(listed.indexOf("const OF_PARTS")))[1];
    const all = [...block.matchAll(/(\w+): "any"/g)].map(([, name]) => name);
    assert.ok(all.length >= 7);
    const here = OPTIONS.filter((option) => option.part === part).map(({ name }) => name);
    assert.deepEqual([...here, ...ELSEWHERE[part]].sort(), all.sort(), part);
  }
});

test("values are read as they are written, and what is none is told with what would be one", async () => {
  const { isValueOf, textOf, valueOf } = await studio("train/finer-text.ts");
  const names = { is: "names", may_match: true, suggested: [] };
  const both = [
    [names, "all-linear", "all-linear"],
    [names, "q_proj, v_proj", ["q_proj", "v_proj"]],
    [names, "/.*\\.[01]\\.self_attn\\.(q|v)_proj/", ".*\\.[01]\\.self_attn\\.(q|v)_proj"],
    [{ is: "layers" }, "0, 2, 11", [0, 2, 11]],
    [{ is: "weights" }, "1, 0.5, -0.25", [1, 0.5, -0.25]],
    [{ is: "pattern" }, "q_proj = 16\nlayers\\.[0=]\\.mlp = 4", { q_proj: 16, "layers\\.[0=]\\.mlp": 4 }],
    [{ is: "number", min: 0 }, "1e-8", 1e-8],
    [{ is: "choice", of: [[true, "yes"], ["gaussian", "so"]] }, "true", true],
  ];
  for (const [kind, text, value] of both) {
    assert.deepEqual([valueOf(kind, text), textOf(kind, value), isValueOf(kind, value)], [{ value }, text, true]);
    assert.deepEqual(valueOf(kind, " "), { value: undefined });
    assert.equal(textOf(kind, null), "");
    for (const none of [undefined, null, {}, [], [{}], { a: "x" }]) assert.equal(isValueOf(kind, none), false, `${kind.is}: ${String(none)}`);
  }
  assert.deepEqual(valueOf({ is: "layers" }, "0-2, 7 – 8"), { value: [0, 1, 2, 7, 8] });
  assert.deepEqual(valueOf({ is: "names", suggested: [] }, "/a/, b"), { value: ["/a/", "b"] }, "only some may be expressions");
  const wrong = [
    [{ is: "layers" }, ["first", "3-1", "-1", "1.5", "0-999999"], /such as 0, 2, 8-11/],
    [{ is: "pattern" }, ["q_proj", "q_proj = many", "= 4"], /such as q_proj = 16/],
    [{ is: "weights" }, ["much"], /such as 1, 0.5/],
    [{ is: "number", min: 1, max: 8, is_whole: true }, ["0", "9", "1.5", "x"], /^Write a whole number from 1 to 8\.$/],
    [{ is: "number", min: 0 }, ["-1"], /^Write a number of at least 0\.$/],
  ];
  for (const [kind, texts, problem] of wrong) for (const text of texts) assert.match(valueOf(kind, text).problem ?? "", problem, text);
});

test("what is set goes into a run that has it, and into no other", async () => {
  const { Finer, OPTIONS } = await studio("train/finer.ts", "train/finer-list.ts");
  const option = (name) => OPTIONS.find((each) => each.name === name);
  const finer = new Finer();
  finer.follow(own);
  finer.put(option("bias"), "lora_only");
  finer.put(option("modules_to_save"), ["norm"]);
  finer.put(option("zo_num_samples"), 4);
  finer.put(option("desirable_weight"), 2);
  finer.put(option("bnb_4bit_use_double_quant"), false);
  const words = { ...own, lora: { ...own.lora, modules_to_save: ["embed_tokens", "norm"] } };
  const made = finer.into(words);
  assert.deepEqual(made.lora, { ...own.lora, bias: "lora_only", modules_to_save: ["embed_tokens", "norm"] });
  assert.deepEqual([made.train, made.quantization.bnb_4bit_use_double_quant], [own.train, false]);
  assert.deepEqual(finer.words(words), ["Modules that learn whole", "Biases that learn", "Scales in 8 bits"]);
  assert.equal(own.quantization.bnb_4bit_use_double_quant, true, "what it is made of stays");

  const mezo = { ...own, train: { ...own.train, optim: "mezo" }, quantization: { load_in_8bit: true } };
  assert.deepEqual([finer.into(mezo).train.zo_num_samples, finer.into(mezo).quantization], [4, { load_in_8bit: true }]);
  const all = { quantization: {}, lora: {}, train: { ...own.train, finetuning_type: "full", method: "kto" } };
  assert.deepEqual([finer.into(all).lora, finer.into(all).train.desirable_weight], [{}, 2]);
  assert.deepEqual(finer.words(all), ["Weight of good answers"]);

  finer.put(option("bias"), "none");
  finer.put(option("lora_alpha"), 32);
  finer.put(option("warmup_steps"), 5.0000000001);
  assert.ok(!("lora.bias" in finer.values.value) && !("lora.lora_alpha" in finer.values.value) && !("train.warmup_steps" in finer.values.value), "the usual is no change");
});

test("a run tells what of it is not usual, and gives its settings back", async () => {
  const { finerIn, finerNotes, finerOf, fieldsIn } = await studio("train/finer.ts", "train/presets.ts");
  assert.deepEqual([finerNotes(own), finerNotes(bundled)], [[], []]);
  const lora = { ...own.lora, r: 4, lora_alpha: 8, bias: "all", rank_pattern: { q_proj: 16 }, modules_to_save: ["embed_tokens", "norm"], use_rslora: true };
  const run = { ...own, lora, train: { ...own.train, eval_steps: 10, load_best_model_at_end: true, gradient_accumulation_steps: 2 } };
  assert.deepEqual(finerNotes(run), ["Other ranks: q_proj = 16", "Modules that learn whole: norm", "Biases that learn: all of them", "2 other finer settings"]);
  const fields = fieldsIn(run);
  assert.deepEqual([fields.r, fields.trained, fields.learns_words, fields.keeps_best, fields.optim, fields.bits], [4, "adapter", true, true, "adamw_torch", "4"]);
  const plain = { ...run, lora: { ...own.lora, r: 4, lora_alpha: 8 }, train: { ...own.train, eval_steps: 10 } };
  const found = finerOf(run, plain);
  assert.deepEqual(found, { "lora.rank_pattern": { q_proj: 16 }, "lora.modules_to_save": ["norm"], "lora.bias": "all", "lora.use_rslora": true, "train.gradient_accumulation_steps": 2 });
  assert.deepEqual(finerIn(found), found, "as it is kept");

  const full = fieldsIn({ quantization: {}, lora: {}, train: { ...own.train, finetuning_type: "full", method: "kto", beta: 0.3, optim: "adafactor" } });
  assert.deepEqual([full.trained, full.learns_from, full.method, full.beta, full.optim, "r" in full, "bits" in full], ["all", "preferences", "kto", 0.3, "adafactor", false, false]);
  const strange = fieldsIn({ ...own, train: { ...own.train, method: "constructor", optim: "of tomorrow" } });
  assert.deepEqual([strange.learns_from, "optim" in strange], ["examples", false], "what this page does not know is left as it is");
  assert.deepEqual(finerNotes({ ...own, lora: { bias: { of: "an attacker" }, target_modules: 7, rank_pattern: "x" } }), []);
});

test("a refusal is told by what the page calls the option", async () => {
  const { namedIn, hintOf } = await studio("train/finer.ts", "shell/words.ts");
  const biases = 'the biases of model.layers.0.o_proj do not learn, because the model multiplies them by 0.22: set lora.bias to "none"';
  assert.deepEqual(namedIn(biases), { key: "lora.bias", words: "Biases that learn" });
  assert.equal(namedIn("lora.r is 600, not 1 to 512").words, "LoRA rank");
  assert.equal(namedIn("train.of_tomorrow is unknown; explora.bias"), undefined);
  assert.equal(hintOf("bad-option", biases, true), "A setting cannot be used: look at “Biases that learn” under Settings.");
  assert.equal(hintOf("bad-option", "what is it", true), "A setting cannot be used.");
});
