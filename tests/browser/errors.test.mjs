// Bad inputs: each is refused with its code and a message that names what is wrong.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { buildSafetensors, parseSafetensors } from "./safetensors.mjs";
import { bundledConfig, bytesOf, jsonl, openLab, valueOf } from "./support.mjs";

const CHAT = { messages: [{ role: "user", content: "Hello there" }, { role: "assistant", content: "Hi." }] };
const Q_PROJ = "model.layers.0.self_attn.q_proj.weight";

const weights = () => new Uint8Array(readFileSync(join(paths.model, "model.safetensors")));
const tensors = () => parseSafetensors(weights());
const json = (value) => new TextEncoder().encode(JSON.stringify(value));
const modelConfig = (changes) => json({ ...JSON.parse(readFileSync(join(paths.model, "config.json"), "utf8")), ...changes });

/** A copy with the eight bytes of the header's length overwritten. */
function withHeaderLength(file, length) {
  const copy = file.slice();
  new DataView(copy.buffer).setBigUint64(0, length, true);
  return copy;
}

function withTensor(all, name, change) {
  assert.ok(name in all, `the bundled model has ${name}`);
  return { ...all, [name]: { ...all[name], ...change(all[name]) } };
}

function without(all, name) {
  assert.ok(name in all, `the file has ${name}`);
  return Object.fromEntries(Object.entries(all).filter(([known]) => known !== name));
}

/** name → the files that replace the bundled model's (null removes one), the code, and the message. */
const BAD_MODELS = {
  "truncated safetensors": () => [{ "model.safetensors": weights().slice(0, -1000) }, "bad-model", /model\.safetensors/],
  "an empty safetensors file": () => [{ "model.safetensors": new Uint8Array() }, "bad-model", /model\.safetensors/],
  "a header longer than the file": () => [
    { "model.safetensors": withHeaderLength(weights(), 1n << 40n) }, "bad-model", /model\.safetensors/],
  "a header that is no JSON": () => [
    { "model.safetensors": withHeaderLength(weights(), 9n) }, "bad-model", /model\.safetensors/],
  "a header with offsets past the end": () => [
    { "model.safetensors": buildSafetensors(tensors(), (header) => (Object.values(header).at(-1).data_offsets[1] += 64)) },
    "bad-model", /model\.safetensors/],
  "a header whose shape does not fit its bytes": () => [
    { "model.safetensors": buildSafetensors(tensors(), (header) => (header[Q_PROJ].shape[0] += 1)) },
    "bad-model", /q_proj/],
  "a missing tensor": () => [
    { "model.safetensors": buildSafetensors(without(tensors(), Q_PROJ)) }, "bad-model", /q_proj/],
  "a tensor of the wrong shape": () => [
    { "model.safetensors": buildSafetensors(withTensor(tensors(), Q_PROJ, ({ shape: [rows, columns] }) => ({ shape: [rows * 2, columns / 2] }))) },
    "bad-model", /q_proj/],
  "no config.json": () => [{ "config.json": null }, "bad-model", /config\.json/],
  "a config.json that is no JSON": () => [{ "config.json": new TextEncoder().encode("{") }, "bad-model", /config\.json/],
  "no weights": () => [{ "model.safetensors": null }, "bad-model", /model\.safetensors/],
  "no tokenizer": () => [{ "tokenizer.json": null }, "bad-model", /tokenizer\.json/],
};

const UNSUPPORTED = {
  "an unknown model_type": [{ model_type: "gpt2", architectures: ["GPT2LMHeadModel"] }, /gpt2/],
  "an unknown rope scaling": [{ rope_scaling: { rope_type: "su", factor: 4 } }, /"su"/],
  "an unknown activation": [{ hidden_act: "gelu_new" }, /gelu_new/],
};

const BAD_ROWS = {
  "bad JSON on line 3": [[CHAT, CHAT, '{"messages": [', CHAT], /line 3\b/],
  "a row without a role": [[CHAT, { messages: [{ content: "Hi" }] }], /line 2\b.*role/],
  "a row of no known shape": [[CHAT, { vraag: "Hi", antwoord: "Hello" }], /line 2\b/],
  "a content that is no text": [[{ messages: [{ role: "user", content: [{ type: "image" }] }] }], /line 1\b.*image/],
  "an empty file": [[], /empty|no rows?/i],
};

const BAD_OPTIONS = {
  "an unknown training option": [{ train: { learning_rat: 1 } }, /learning_rat/],
  "an unknown LoRA option": [{ lora: { rank: 8 } }, /rank/],
  "an unknown quantisation option": [{ quantization: { load_in_8bit: true } }, /load_in_8bit/],
  "a rank that is no number": [{ lora: { r: "8" } }, /\br\b/],
  "a negative learning rate": [{ train: { learning_rate: -1 } }, /learning_rate/],
  "an unknown scheduler": [{ train: { lr_scheduler_type: "polynomial" } }, /lr_scheduler_type|polynomial/],
  "an unknown 4-bit code": [{ quantization: { load_in_4bit: true, bnb_4bit_quant_type: "fp4" } }, /fp4/],
  "a module that the model does not have": [{ lora: { target_modules: ["c_attn"] } }, /c_attn/],
};

function assertRefused({ error }, code, message) {
  assert.ok(error, "it was accepted");
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
}

test("bad inputs are refused", async (t) => {
  const lab = await openLab(t, { device: "cpu", keeps: true });
  const config = bundledConfig({ max_steps: 1, max_length: 64 });
  const serveModel = (files) => {
    lab.mounts["/model/"] = paths.model;
    for (const name of Object.keys(lab.mounts)) if (/^\/model\/./.test(name)) delete lab.mounts[name];
    for (const [name, bytes] of Object.entries(files)) lab.mounts[`/model/${name}`] = bytes;
    return "/model/";
  };
  const serveRows = (rows) => {
    lab.mounts["/own.jsonl"] = jsonl(rows);
    return "/own.jsonl";
  };

  /** What tokenising rows found, as a plan tells it too. */
  const reportOf = (rows, { train }) =>
    lab.page.evaluate(async ({ rows, train }) => {
      const { tabtune, importFrom } = globalThis.runner;
      const dataset = await importFrom("rows", rows);
      const trainer = await tabtune.Trainer.load("/bundled/");
      await trainer.lengths(dataset, train);
      await trainer.dispose();
      const { token_sets: [report] } = await dataset.info();
      return report;
    }, { rows, train });

  for (const [name, build] of Object.entries(BAD_MODELS)) {
    await t.test(name, async () => {
      const [files, code, message] = build();
      assertRefused(await lab.run({ model: serveModel(files), config }), code, message);
    });
  }

  for (const [name, [changes, message]] of Object.entries(UNSUPPORTED)) {
    await t.test(`${name}, before any weight is read`, async () => {
      const before = lab.server.requests.length;
      assertRefused(await lab.run({ model: serveModel({ "config.json": modelConfig(changes) }), config }), "unsupported-model", message);
      const read = lab.server.requests.slice(before);
      assert.ok(read.includes("/model/config.json"));
      assert.ok(!read.some((path) => path.endsWith(".safetensors")), read.join(", "));
    });
  }

  await t.test("NaN in a weight", async () => {
    const poisoned = withTensor(tensors(), "model.norm.weight", ({ dtype, bytes }) => {
      const nan = { F16: [0x00, 0x7e], BF16: [0xc0, 0x7f], F32: [0, 0, 0xc0, 0x7f] }[dtype];
      const changed = bytes.slice();
      changed.set(nan);
      return { bytes: changed };
    });
    const model = serveModel({ "model.safetensors": buildSafetensors(poisoned) });
    assertRefused(await lab.run({ model, config }), "bad-model", /model\.norm\.weight.*NaN/);
  });

  await t.test("NaN in three losses in a row stops the run and names the steps", async () => {
    // The first step's loss is that of the untouched model; its update then takes B beyond all bounds.
    const astray = { ...config, train: { ...config.train, max_steps: 5, learning_rate: 3e38, lr_scheduler_type: "constant" } };
    assertRefused(await lab.run({ config: astray }), "not-finite", /steps 2 to 4\b/);
  });

  for (const [name, [rows, message]] of Object.entries(BAD_ROWS)) {
    await t.test(name, async () => assertRefused(await lab.run({ rows: serveRows(rows), config }), "bad-data", message));
  }

  await t.test("rows that are cut before all labels", async () => {
    const question = { role: "user", content: "Why? ".repeat(200) };
    const hopeless = { messages: [question, { role: "assistant", content: "Because." }] };
    const chats = { ...config, train: { ...config.train, assistant_only_loss: true } };
    assertRefused(await lab.run({ rows: serveRows([hopeless, hopeless]), config: chats }), "bad-data", /max_length cuts every row/);
    const report = await reportOf(serveRows([CHAT, hopeless, CHAT]), chats);
    assert.deepEqual([report.rows, report.kept, report.dropped], [3, 2, 1]);
  });

  await t.test("rows longer than max_length are cut and counted", async () => {
    const texts = { ...config, train: { ...config.train, assistant_only_loss: false } };
    const rows = serveRows([{ text: "Short." }, { text: "Long. ".repeat(200) }, { text: "Long. ".repeat(300) }]);
    const report = await reportOf(rows, texts);
    assert.deepEqual([report.kept, report.truncated, report.longest], [3, 2, 64]);
  });

  for (const [name, [changes, message]] of Object.entries(BAD_OPTIONS)) {
    await t.test(name, async () => {
      const merged = { ...config };
      for (const [part, options] of Object.entries(changes)) merged[part] = { ...config[part], ...options };
      assertRefused(await lab.run({ config: merged }), "bad-option", message);
    });
  }

  await t.test("a bad adapter", async (t) => {
    const { files } = valueOf(await lab.run({ config }));
    const good = bytesOf(files["adapter_model.safetensors"]);
    const good_config = JSON.parse(new TextDecoder().decode(bytesOf(files["adapter_config.json"])));
    const parsed = parseSafetensors(good);
    const first = Object.keys(parsed)[0];
    const cases = {
      truncated: [good.slice(0, -16), good_config, /adapter_model\.safetensors/],
      "with a lying header": [withHeaderLength(good, 1n << 40n), good_config, /adapter_model\.safetensors/],
      "with a missing tensor": [buildSafetensors(without(parsed, first)), good_config, /lora_[AB]/],
      "with a wrong shape": [
        buildSafetensors(withTensor(parsed, first, ({ shape: [rows, columns] }) => ({ shape: [columns, rows] }))), good_config, /lora_[AB]/],
      "with a wrong dtype": [
        buildSafetensors(withTensor(parsed, first, ({ shape, bytes }) => ({ dtype: "I32", shape, bytes }))), good_config, /I32/],
      "of another method": [good, { ...good_config, peft_type: "IA3" }, /IA3/],
    };
    for (const [name, [model, adapter_config, message]] of Object.entries(cases)) {
      await t.test(name, async () => {
        lab.mounts["/adapter/adapter_model.safetensors"] = model;
        lab.mounts["/adapter/adapter_config.json"] = json(adapter_config);
        assertRefused(await lab.run({ config, init_adapter: "/adapter/" }), "bad-adapter", message);
      });
    }
  });

  await t.test("an empty dataset and a run that was not prepared", async () => {
    const outcomes = await lab.page.evaluate(async () => {
      const { tabtune, outcome } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/bundled/");
      const empty = await outcome(async () => trainer.prepare(await tabtune.Dataset.open("nothing here")));
      const unprepared = await outcome(() => trainer.train().next());
      const evaluated = await outcome(() => trainer.evaluate());
      await trainer.dispose();
      return { empty, unprepared, evaluated };
    });
    assertRefused(outcomes.empty, "bad-state", /nothing here/);
    assertRefused(outcomes.unprepared, "bad-state", /prepare/);
    assertRefused(outcomes.evaluated, "bad-state", /./);
  });
});
