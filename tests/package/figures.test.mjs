// What runs take, asked of the worker that a page shares, which is played: who starts it, what becomes of it, who waits for it.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Dataset } from "../../www/package/build/dataset.js";
import { PATIENCE } from "../../www/package/build/pulse.js";
import { Trainer } from "../../www/package/build/trainer.js";
import { answers, playPage, workers } from "./played-worker.mjs";

playPage();
Object.assign(PATIENCE, { ping: 0.02, silence: 0.1, grace: 0.1, limit: 0.6 });

const model = "http://localhost/models/tiny/";
const footprint = { peak_gpu_bytes: 1 };
const ways = [{ way: "lora", options: { lora: { r: 4 } }, footprint }];
const never = () => new Promise(() => {});

beforeEach(() => {
  // A worker that has ended is not taken for the next call, so that each test begins with a new one.
  for (const worker of workers.splice(0)) worker.close();
  for (const call of Object.keys(answers)) delete answers[call];
  Object.assign(answers, { estimate: () => footprint, compare: () => ways, datasets: () => [] });
});

test("figures of all devices and datasets are told by one worker, in which no run is started", async () => {
  const asked = [];
  answers.estimate = (args) => (asked.push(args), footprint);
  answers.compare = answers.estimate;
  await Dataset.list();
  assert.equal(await Trainer.estimate(model, { quantization: { load_in_4bit: true }, lora: null }), footprint);
  assert.equal(await Trainer.estimate(model, { device: "cpu" }), footprint);
  assert.equal(await Trainer.compare(model, { device: "webgpu", lora: { r: 4 }, train: null }), footprint);
  const folder = { kind: "url", base: model, cache: true };
  assert.deepEqual(asked, [
    { device: "auto", folder, quantization: { load_in_4bit: true }, lora: undefined, train: undefined },
    { device: "cpu", folder, quantization: undefined, lora: undefined, train: undefined },
    { device: "webgpu", folder, lora: { r: 4 }, train: {} },
  ]);
  assert.deepEqual(workers.map(({ calls }) => calls), [["start_library", "datasets", "estimate", "estimate", "compare"]]);
  assert.ok(!workers[0].is_over);
});

test("options that make no run leave the worker as it was, and an error of another kind does not", async () => {
  const fails = (code) => {
    answers.estimate = () => {
      throw Object.assign(new Error("so it is"), { code });
    };
    return assert.rejects(Trainer.estimate(model), { code, message: "so it is" });
  };
  await fails("bad-option");
  await fails("bad-option");
  assert.deepEqual([workers.length, workers[0].is_over], [1, false]);
  await fails("internal");
  assert.ok(workers[0].is_over);
  assert.equal(await Trainer.compare(model), ways);
  assert.equal(workers.length, 2);
});

test("who no longer wants a figure waits for nothing, and takes none from others", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  let answer;
  Object.assign(answers, { estimate: never, datasets: () => new Promise((resolve) => (answer = resolve)) });
  const estimate = Trainer.estimate(model, { signal });
  const listed = Dataset.list();
  await sleep(10);
  controller.abort();
  await assert.rejects(Promise.race([estimate, sleep(50)]), { code: "cancelled" });
  await assert.rejects(Trainer.compare(model, { signal }), { code: "cancelled" });
  await sleep(10);
  assert.equal(await Trainer.compare(model), ways);
  answer([]);
  assert.deepEqual(await listed, []);
  const [{ calls, cancelled, is_over }] = workers;
  assert.deepEqual([workers.length, calls, cancelled.length, is_over], [1, ["start_library", "estimate", "datasets", "compare"], 1, false]);
});

test("while the worker starts nobody waits for a figure either", async () => {
  const controller = new AbortController();
  answers.start_library = never;
  const estimate = Trainer.estimate(model, { signal: controller.signal });
  controller.abort();
  await assert.rejects(Promise.race([estimate, sleep(50)]), { code: "cancelled" });
});

test("a worker that hangs over a figure that is no longer wanted is ended, and the next figure has another", async () => {
  const controller = new AbortController();
  answers.estimate = (_args, worker) => ((worker.hangs = true), never());
  const estimate = Trainer.estimate(model, { signal: controller.signal });
  await sleep(10);
  controller.abort();
  await assert.rejects(estimate, { code: "cancelled" });
  await sleep(1000);
  assert.ok(workers[0].is_over);
  assert.equal(await Trainer.compare(model), ways);
  assert.equal(workers.length, 2);
});
