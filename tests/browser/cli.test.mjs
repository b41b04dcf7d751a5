// The command behind `./build.sh train`: what it prints, what it writes, how it fails.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { blocksOf } from "../docs/blocks.mjs";
import { parseSafetensors } from "./safetensors.mjs";
import { bundledConfig, fewRows } from "./support.mjs";

const STEP_FIELDS = ["step", "loss", "grad_norm", "learning_rate", "num_tokens", "tokens_per_second", "peak_gpu_bytes"];

test("the command line", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-cli-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const write = (name, value) => {
    writeFileSync(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
    return name;
  };
  const heldout = join(folder, "heldout.jsonl");
  writeFileSync(heldout, fewRows(paths.heldout));
  const run = (...args) =>
    spawnSync(process.execPath, [join(paths.root, "tools/train.mjs"), ...args], { cwd: folder, encoding: "utf8" });
  const train = (...args) => run("--eval", heldout, ...args);
  // What is about rows and options takes the device that computes them sooner.
  const onProcessor = (...args) => run("--device", "cpu", ...args);
  const evaluations = (name) =>
    readFileSync(join(folder, name, "log.jsonl"), "utf8").trimEnd().split("\n").filter((line) => line.includes("eval_loss"));

  await t.test("writes the adapter and a log with a line per step", () => {
    const config = write("config.json", bundledConfig({ max_steps: 3, eval_steps: 2, max_length: 64 }));
    const { status, stdout, stderr } = train("--config", config, "--out", "result");
    assert.equal(status, 0, stderr);
    for (const word of ["before", "after", "held-out", "GPU memory", "no request while training", "result"]) {
      assert.ok(stdout.includes(word), `"${word}" in\n${stdout}`);
    }
    const out = join(folder, "result");
    assert.deepEqual(readdirSync(out).sort(), ["adapter_config.json", "adapter_model.safetensors", "log.jsonl"]);
    assert.equal(JSON.parse(readFileSync(join(out, "adapter_config.json"), "utf8")).peft_type, "LORA");
    assert.ok(Object.keys(parseSafetensors(new Uint8Array(readFileSync(join(out, "adapter_model.safetensors"))))).length > 0);
    const log = readFileSync(join(out, "log.jsonl"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line));
    const steps = log.filter((line) => "loss" in line);
    assert.deepEqual(steps.map(({ step }) => step), [1, 2, 3]);
    for (const line of steps) assert.deepEqual(Object.keys(line), STEP_FIELDS);
    const evals = log.filter((line) => "eval_loss" in line);
    assert.deepEqual(evals.map(({ step }) => step), [0, 2, 3]);
    for (const line of evals) assert.deepEqual(Object.keys(line), ["step", "eval_loss"]);
  });

  await t.test("runs the config of the guide, and starts from an adapter that one names, relative to itself", () => {
    // The loss is the same to the last bit on one device alone.
    const [{ text }] = blocksOf("docs/command-line.md").filter(({ language }) => language === "json");
    const { init_adapter, ...told } = JSON.parse(text);
    assert.equal(typeof init_adapter, "string");
    const documented = (max_steps) => ({ ...told, train: { ...told.train, max_steps, per_device_train_batch_size: 1 } });
    const first = write("first.json", documented(2));
    const config = write("again.json", { ...documented(1), init_adapter: "first" });
    for (const [given, out] of [[first, "first"], [config, "second"]]) {
      const { status, stderr } = onProcessor("--eval", heldout, "--config", given, "--out", out);
      assert.equal(status, 0, stderr);
    }
    const last = (name) => JSON.parse(readFileSync(join(folder, name, "log.jsonl"), "utf8").trimEnd().split("\n").at(-1));
    const first_line = JSON.parse(readFileSync(join(folder, "second/log.jsonl"), "utf8").split("\n", 1)[0]);
    assert.equal(first_line.eval_loss, last("first").eval_loss);
  });

  await t.test("writes the model where all weights are trained", () => {
    const config = write("full.json", { train: { ...bundledConfig({ max_steps: 1, max_length: 64 }).train, finetuning_type: "full" } });
    const { status, stdout, stderr } = onProcessor("--eval", heldout, "--config", config, "--out", "tuned", "--dtype", "bf16");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^model +.*tuned$/m);
    const out = join(folder, "tuned");
    const names = ["config.json", "generation_config.json", "log.jsonl", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    assert.deepEqual(readdirSync(out).sort(), names);
    const tensors = Object.values(parseSafetensors(new Uint8Array(readFileSync(join(out, "model.safetensors")))));
    assert.deepEqual([tensors.length, new Set(tensors.map(({ dtype }) => dtype))], [56, new Set(["BF16"])]);
  });

  const rowsOf = (name) => readFileSync(join(paths.root, `tests/cases/${name}/rows.jsonl`), "utf8");
  const one_step = write("step.json", { lora: { r: 4 }, train: { max_steps: 1, per_device_train_batch_size: 1, max_length: 128 } });

  await t.test("takes a file larger than any string, begins with a prompt of messages, and holds a share out", () => {
    const large = openSync(join(folder, "large.jsonl"), "w");
    writeSync(large, rowsOf("browser-cli-first-row-of-messages"));
    const blank = `${" ".repeat((1 << 20) - 1)}\n`;
    for (let mebibytes = 0; mebibytes < 520; mebibytes++) writeSync(large, blank);
    writeSync(large, '{"prompt":"And one row","completion":" behind it."}\n');
    closeSync(large);
    const config = write("share.json", { lora: { r: 4 }, train: { max_steps: 1, test_size: 0.2, max_length: 128 } });
    const { status, stdout, stderr } = onProcessor("--data", "large.jsonl", "--config", config, "--out", "large");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^held-out +\d+ rows?, and \d+ are trained on$/m);
    assert.match(stdout, /^held-out +loss .* before, .* after 1 steps/m);
    assert.equal(evaluations("large").length, 2);
  });

  await t.test("evaluates a sample where nothing is held out, and asks what the first row asks, in parts, of a GGUF", () => {
    const data = write("parts.jsonl", rowsOf("browser-cli-first-row-of-parts"));
    const model = join(paths.bases, "gguf_q8_0_qwen2/model.gguf");
    const { status, stdout, stderr } = onProcessor("--model", model, "--data", data, "--config", one_step, "--out", "parts");
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^notice +no --eval and no test_size: nothing is held out/m);
    assert.match(stdout, /^sample +loss .* before, .* after 1 steps, of \d+ rows that were trained on$/m);
    assert.match(stdout, /^before +Q: \S/m);
    assert.equal(evaluations("parts").length, 2);
  });

  const failures = {
    "an unknown flag": [["--nope", "1"], /^error\[bad-option\]: .*--nope/],
    "a model that is not there": [["--model", "nowhere"], /^error\[io\]: .*nowhere/],
    "a config that is no JSON": [["--config", write("broken.json", "{")], /^error\[bad-option\]: .*broken\.json/],
    "an unknown part of the config": [["--config", write("part.json", { trian: {} })], /^error\[bad-option\]: .*trian/],
    "an unknown option of the config": [["--config", write("option.json", { train: { lr: 1 } })], /^error\[bad-option\]: .*lr\b/],
    "a wrong option of the adapter, before rows are read": [
      ["--data", write("late.jsonl", "{"), "--config", write("lora.json", { lora: { alpha: 8 } })],
      /^error\[bad-option\]: .*alpha/,
    ],
    "broken rows": [["--data", write("broken.jsonl", '{"text":"a"}\n{"text":\n')], /^error\[bad-data\]: .*broken\.jsonl.*line 2\b/],
  };
  for (const [name, [args, message]] of Object.entries(failures)) {
    await t.test(`refuses ${name}`, () => {
      const { status, stderr } = onProcessor("--eval", heldout, ...args);
      assert.equal(status, 1);
      assert.match(stderr, message);
    });
  }
});
