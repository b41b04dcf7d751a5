// The comparison of the ways to train, with an engine whose estimates are played.
import assert from "node:assert/strict";
import { test } from "node:test";
import { failure } from "../../www/package/build/errors.js";
import { compare } from "../../www/package/build/ways.js";

const taken = (weights) => ({ peak_gpu_bytes: 2 * weights, gpu_bytes: { weights } });

test("each way to train is asked for with the options that make it", async () => {
  const asked = [];
  const estimate = async (options) => {
    const { load_in_4bit, load_in_8bit } = options.quantization ?? {};
    asked.push(options);
    return taken(load_in_4bit ? 25 : load_in_8bit ? 50 : 100);
  };
  const [lora, train] = [{ r: 4 }, { max_length: 64, optim: "mezo" }];
  const ways = await compare(estimate, lora, train);
  assert.deepEqual(ways.map(({ way, footprint }) => [way, footprint.gpu_bytes.weights]), [
    ["full", 100],
    ["lora", 100],
    ["lora_8bit", 50],
    ["qlora", 25],
    ["mezo", 25],
  ]);
  assert.deepEqual(ways.map(({ options }) => options), asked);
  const [full, , , qlora, mezo] = asked;
  assert.deepEqual(full, { train: { max_length: 64, finetuning_type: "full" } }, "no adapter beside it");
  assert.deepEqual([qlora.lora, qlora.train], [lora, { max_length: 64, finetuning_type: "lora" }]);
  assert.deepEqual([mezo.quantization, mezo.train.optim], [qlora.quantization, "mezo"]);
  const [{ options }] = await compare(estimate, {}, { optim: "sgd" });
  assert.equal(options.train.optim, "sgd", "what makes steps of gradients stays");
});

test("a way that a model cannot go is told with its reason, and so is one that changes nothing", async () => {
  const estimate = async ({ train }) => {
    if (train.finetuning_type === "full") throw failure("bad-option", "it is in NF4");
    if (train.optim === "mezo") throw failure("out-of-memory", "too large");
    return taken(9);
  };
  const same = (way) => `bad-option: the model is quantised in its files and stays as it is: "${way}" would be "lora"`;
  const found = (await compare(estimate, {}, {})).map(({ error, footprint }) => (error ? `${error.code}: ${error.message}` : footprint));
  assert.deepEqual(found, ["bad-option: it is in NF4", taken(9), same("lora_8bit"), same("qlora"), "out-of-memory: too large"]);
});

test("a model that cannot be read is no way's fault", async () => {
  let asked = 0;
  const estimate = async () => {
    asked += 1;
    throw failure("io", "no answer came");
  };
  await assert.rejects(compare(estimate, {}, {}), { code: "io" });
  assert.equal(asked, 1);
});
