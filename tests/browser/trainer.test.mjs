// What the package promises around a run: told memory, a look at the rows, the page's own GPU device, and
// nothing left behind.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTraining } from "./learning.mjs";
import { bundledConfig, openLab, valueOf } from "./support.mjs";

/** Runs in the page: a device of the page's own, which keeps what is compiled on it. */
async function openDevice(features) {
  const device = await (await navigator.gpu.requestAdapter()).requestDevice({ requiredFeatures: features });
  const pipelines = [];
  device.createComputePipeline = (descriptor) => {
    const pipeline = GPUDevice.prototype.createComputePipeline.call(device, descriptor);
    pipelines.push(pipeline);
    return pipeline;
  };
  return device;
}

/** Runs in the page: two steps on the bundled rows, on the page's own device of that name if asked. */
async function twoSteps({ config, device: named = "webgpu", own_device }) {
  const { tabtune, importFrom, outcome } = globalThis.runner;
  return outcome(async () => {
    const device = own_device && globalThis.devices[own_device];
    let lost = false;
    device?.lost.then(() => (lost = true));
    const dataset = await importFrom("rows", "/rows.jsonl");
    const trainer = await tabtune.Trainer.load("/bundled/", { ...config, device: device ?? named });
    const losses = [];
    for await (const { loss } of trainer.train(dataset)) losses.push(loss);
    const left = await trainer.dispose();
    // A device that was destroyed would give an invalid buffer, whose mapping fails.
    const buffer = device?.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    await buffer?.mapAsync(GPUMapMode.READ);
    return { losses, left, lost };
  });
}

/** Runs in the page: all weights learn, and the model is saved, opened again and asked. */
async function allWeights({ train, device }) {
  const { tabtune, importFrom, answer, outcome } = globalThis.runner;
  const { Trainer } = tabtune;
  return outcome(async () => {
    const dataset = await importFrom("rows", "/rows.jsonl");
    const eval_dataset = await importFrom("held-out", "/heldout.jsonl");
    const full = { ...train, finetuning_type: "full" };
    const ask = (trainer, adapter) => answer(trainer, "What is tabtune?", { adapter, max_new_tokens: 16 });

    const estimate = await Trainer.estimate("/bundled/", { device, train: full });
    let trainer = await Trainer.load("/bundled/", { device, eval_dataset, train: full });
    const base = [await ask(trainer, false)];
    const plan = await trainer.prepare(dataset, { run_name: null });
    const { buffer_bytes: counted } = await trainer.counters();
    const evals = [await trainer.evaluate()];
    const steps = await trainer.train();
    evals.push(await trainer.evaluate());
    const tuned = [await ask(trainer, true)];
    base.push(await ask(trainer, false));
    const adapters = [trainer.adapters.active, ...(await trainer.adapters.list())];
    const { error } = await outcome(() => trainer.save());
    const { folder, files } = await trainer.save({ format: "safetensors", dtype: "f32", to: "opfs" });
    await trainer.dispose();

    // Before its first step a run has the loss of the model that it begins with.
    trainer = await Trainer.load(folder, { device, eval_dataset, train: full });
    await trainer.prepare(dataset, { run_name: null });
    evals.push(await trainer.evaluate());
    tuned.push(await ask(trainer, false));
    await trainer.dispose();

    return { estimate, plan, counted, steps, losses: evals.map(({ eval_loss }) => eval_loss), base, tuned, adapters, error, files };
  });
}

/** Runs in the page: the same run is left after its first checkpoint, and another trainer goes on with it. */
async function inTwoParts({ train, device }) {
  const { tabtune, outcome } = globalThis.runner;
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open("rows");
    const eval_dataset = await tabtune.Dataset.open("held-out");
    const steps = [];
    let last;
    for (const resume_from_checkpoint of [false, true]) {
      const full = { ...train, finetuning_type: "full", save_steps: 2 };
      const trainer = await tabtune.Trainer.load("/bundled/", { device, eval_dataset, train: full });
      for await (const log of trainer.train(dataset, { run_name: "full", resume_from_checkpoint })) {
        steps.push(log);
        if (log.checkpoint && !resume_from_checkpoint) break;
      }
      last = await trainer.evaluate();
      await trainer.dispose();
    }
    return { steps, last: last.eval_loss };
  });
}

/** All weights that learn, in few steps, on rows that are all as long as they may be. */
const ALL_WEIGHTS = {
  ...bundledConfig().train,
  ...{ learning_rate: 3e-3, max_steps: 4, max_length: 24, per_device_train_batch_size: 2, assistant_only_loss: false },
};

/** Checks that all weights learn on that device, and that what they become is kept. Returns the steps and the last loss. */
async function trainsAllWeights(page, device) {
  const found = valueOf(await page.evaluate(allWeights, { train: ALL_WEIGHTS, device }));
  const { estimate, plan, counted, steps, losses: [first, last, opened], base, tuned } = found;
  assert.equal(estimate.peak_gpu_bytes, counted);
  for (const part of Object.keys(estimate)) assert.deepEqual(estimate[part], plan[part], part);
  assert.ok(last < 0.9 * first, `${last} after ${first}`);
  assert.equal(base[1], base[0], "without it the model answers as before");
  assert.notEqual(tuned[0], base[0]);
  assert.deepEqual(found.adapters, ["default"], "what was learnt is active, and no adapter");
  assert.equal(found.error.code, "bad-state");
  assert.match(found.error.message, /all weights.*"safetensors" or "gguf"/);
  assert.ok(found.files.some(({ name, bytes }) => name === "model.safetensors" && bytes > 10e6));
  assert.ok(Math.abs(opened / last - 1) < 1e-5, `${opened} where it was opened again, ${last} before`);
  assert.equal(tuned[1], tuned[0]);
  return { steps, last };
}

test("a trainer on a GPU", async (t) => {
  const lab = await openLab(t, { keeps: true });
  const { page } = lab;
  await page.evaluate(`(async (open) => {
    globalThis.devices = { plain: await open([]), subgroups: await open(["subgroups"]) };
  })(${openDevice})`);
  const config = bundledConfig({ max_steps: 2, max_length: 64 });
  /** The losses on a device of the page's own. */
  let plain_losses;

  await t.test("leaves nothing on the GPU, and a second one can follow", async () => {
    const first = valueOf(await page.evaluate(twoSteps, { config }));
    assert.deepEqual([first.left.buffers, first.left.buffer_bytes], [0, 0]);
    const second = valueOf(await page.evaluate(twoSteps, { config }));
    assert.deepEqual(second.losses, first.losses);

    const own = valueOf(await page.evaluate(twoSteps, { config, own_device: "subgroups" }));
    assert.deepEqual(own.losses, first.losses, "on a device of the page's own the numbers are the same");
    assert.deepEqual([own.left.buffer_bytes, own.lost], [0, false], "and the device stays");
    plain_losses = valueOf(await page.evaluate(twoSteps, { config, own_device: "plain" })).losses;
    for (const [step, loss] of plain_losses.entries()) {
      assert.ok(Math.abs(loss / first.losses[step] - 1) < 1e-5, `${loss} without subgroups, ${first.losses[step]} with them`);
    }
  });

  await t.test("survives a GPU whose memory runs out while a run or an answer is made ready", async () => {
    const found = valueOf(await page.evaluate(async (config) => {
      const { tabtune, importFrom, outcome } = globalThis.runner;
      const device = globalThis.devices.plain;
      // A buffer for which there is no memory is invalid, and the scope around it says why.
      const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
      let missing;
      const scopes = [];
      device.createBuffer = (descriptor) => {
        if (!descriptor.label?.startsWith(missing ?? "-")) return createBuffer.call(device, descriptor);
        scopes.findLast((scope) => scope.filter === "out-of-memory").is_hit = true;
        return createBuffer.call(device, { ...descriptor, size: 2 ** 40 });
      };
      device.pushErrorScope = (filter) => {
        scopes.push({ filter });
        pushErrorScope.call(device, filter);
      };
      device.popErrorScope = async () => {
        const { is_hit } = scopes.pop();
        const error = await popErrorScope.call(device);
        return is_hit ? new GPUOutOfMemoryError("played") : error;
      };
      return outcome(async () => {
        const dataset = await importFrom("rows", "/rows.jsonl");
        const trainer = await tabtune.Trainer.load("/bundled/", { ...config, device });
        const refused = [];
        for (missing of ["lora", "slot"]) {
          refused.push((await outcome(() => trainer.prepare(dataset))).error);
        }
        missing = undefined;
        const losses = [];
        const run = trainer.train(dataset);
        losses.push((await run.next()).value.loss);
        missing = "kv cache";
        const chat = trainer.generate([{ role: "user", content: "Who?" }], { max_new_tokens: 2 });
        refused.push((await outcome(() => chat.next())).error);
        missing = undefined;
        losses.push((await run.next()).value.loss);
        await run.return();
        await trainer.dispose();
        return { refused, losses };
      });
    }, config));
    assert.deepEqual(found.refused.map(({ code }) => code), ["out-of-memory", "out-of-memory", "out-of-memory"]);
    assert.match(found.refused[0].message, /MB with max_length 32/);
    assert.deepEqual(found.losses, plain_losses, "what was refused has left nothing behind");
  });

  await t.test("tells its memory before anything is allocated, as the plan then has it", async () => {
    await tellsItsMemory(page, config, "webgpu");
    await page.evaluate(() => globalThis.trainer.dispose());
  });

  await t.test("trains all weights, and saves the model", () => trainsAllWeights(page, "webgpu"));

  await t.test("lowers the loss, on the rows and on held-out rows, and writes a PEFT adapter", () => checkTraining(lab));
});

/** The estimate of a run beside its plan and what is there when it is prepared. The run's trainer is then the page's. */
async function tellsItsMemory(page, { quantization, lora }, device) {
  const { estimate, plan } = await page.evaluate(async ({ quantization, lora, device }) => {
    const { tabtune, importFrom } = globalThis.runner;
    // Every bundled row is longer than this, and all its tokens are learnt.
    const train = { max_length: 24, per_device_train_batch_size: 2, assistant_only_loss: false };
    const options = { quantization, lora, train, device };
    const estimate = await tabtune.Trainer.estimate("/bundled/", options);
    globalThis.dataset = await importFrom("rows", "/rows.jsonl");
    globalThis.trainer = await tabtune.Trainer.load("/bundled/", options);
    const plan = await globalThis.trainer.prepare(globalThis.dataset, { run_name: null });
    const counters = await globalThis.trainer.counters();
    return { estimate, plan: { ...plan, counted: counters.buffer_bytes } };
  }, { quantization, lora, device });
  assert.equal(estimate.peak_gpu_bytes, plan.counted);
  for (const part of Object.keys(estimate)) assert.deepEqual(estimate[part], plan[part], part);
}

test("a trainer on the processor", async (t) => {
  const { page } = await openLab(t, { device: "cpu" });
  const config = bundledConfig({ max_steps: 2, max_length: 64 });

  await t.test("leaves nothing in memory, and a second one computes the same", async () => {
    const first = valueOf(await page.evaluate(twoSteps, { config, device: "auto" }));
    // What the workers compute in is the device's own, and there as long as it is.
    assert.equal(first.left.buffers, 1);
    const second = valueOf(await page.evaluate(twoSteps, { config, device: "cpu" }));
    assert.deepEqual([second.left.buffers, second.left.buffer_bytes, second.losses], [1, first.left.buffer_bytes, first.losses]);
  });

  await t.test("tells its memory before anything is allocated, as the plan then has it", () => tellsItsMemory(page, config, "auto"));

  await t.test("compares the ways to train as each is estimated, without those that a model does not allow", async () => {
    const { ways, alone, quantized } = valueOf(await page.evaluate(async ({ lora, train }) => {
      const { tabtune: { Trainer }, outcome } = globalThis.runner;
      return outcome(async () => {
        const ways = await Trainer.compare("/bundled/", { lora, train });
        const alone = [];
        for (const { options } of ways) alone.push(await Trainer.estimate("/bundled/", options));
        return { ways, alone, quantized: await Trainer.compare("/bases/bitsandbytes_nf4_double/model/", { lora, train }) };
      });
    }, config));
    assert.deepEqual(ways.map(({ way }) => way), ["full", "lora", "lora_8bit", "qlora", "mezo"]);
    assert.deepEqual(ways.map(({ footprint }) => footprint), alone);
    const peaks = ways.map(({ footprint }) => footprint.peak_gpu_bytes);
    assert.deepEqual(peaks, peaks.toSorted((a, b) => b - a), "from the one that takes most");
    const told = Object.fromEntries(quantized.map(({ way, error }) => [way, error?.code]));
    assert.deepEqual(told, { full: "bad-option", lora: undefined, lora_8bit: "bad-option", qlora: "bad-option", mezo: undefined });
  });

  await t.test("learns without a gradient, in the memory that was told", async () => {
    const { plan, estimate, steps, evals } = valueOf(await page.evaluate(async ({ quantization, lora, train }) => {
      const { tabtune: { Trainer }, outcome } = globalThis.runner;
      return outcome(async () => {
        const mezo = { ...train, optim: "mezo", learning_rate: 0.02, max_steps: 4, max_length: 24, assistant_only_loss: false, zo_num_samples: 2 };
        const options = { quantization, lora, train: mezo };
        const estimate = await Trainer.estimate("/bundled/", options);
        const trainer = await Trainer.load("/bundled/", options);
        const plan = await trainer.prepare(globalThis.dataset, { run_name: null, eval_steps: 4, test_size: 0.1 });
        const lines = await trainer.train();
        await trainer.dispose();
        return { plan, estimate, steps: lines.filter((line) => "loss" in line), evals: lines.filter((line) => "eval_loss" in line) };
      });
    }, config));
    assert.deepEqual([steps.length, evals.length], [4, 1]);
    for (const { loss, loss_plus, loss_minus, projected_grad, zo_eps, seed, grad_norm, skipped } of steps) {
      assert.ok(Math.abs(loss - (loss_plus + loss_minus) / 2) < 1e-12 && !skipped);
      assert.ok(projected_grad.length === 2 && projected_grad.every(Number.isFinite), String(projected_grad));
      assert.ok(zo_eps === 1e-3 && Number.isInteger(seed) && Number.isNaN(grad_norm));
    }
    assert.equal(new Set(steps.map(({ seed }) => seed)).size, 4, "each step has a direction of its own");
    assert.equal(estimate.peak_gpu_bytes, plan.peak_gpu_bytes);
  });

  await t.test("shows rows as the model sees them, and how long they are", async () => {
    const { seen, lengths, report, token_sets } = await page.evaluate(async () => {
      const { trainer, dataset } = globalThis;
      const options = { assistant_only_loss: true, max_length: 48 };
      const seen = await trainer.preview(dataset, { ...options, count: 2 });
      const lengths = await trainer.lengths(dataset, { ...options, bins: 10 });
      const { dataset: report } = await trainer.prepare(dataset, { ...options, run_name: null });
      const { token_sets } = await dataset.info();
      return { seen, lengths, report, token_sets };
    });
    assert.deepEqual(seen.map(({ origin }) => origin), ["rows.jsonl line 1", "rows.jsonl line 2"]);
    for (const { tokens } of seen) {
      assert.ok(tokens.length <= 48 && tokens.some(({ special }) => special));
      assert.ok(tokens.some(({ labelled }) => labelled) && tokens.some(({ labelled }) => !labelled));
    }
    assert.ok(token_sets.some((found) => JSON.stringify(found) === JSON.stringify(report)), "what was found is kept with the dataset");
    assert.equal(lengths.rows.reduce((sum, count) => sum + count), report.kept);
    assert.ok(lengths.rows.length <= 10 && lengths.cut_rows > 0 && lengths.longest > 48);
  });

  await t.test("holds out a share of the rows, and packs short ones", async () => {
    const { logs, rows, packed, single } = await page.evaluate(async (train) => {
      const { trainer, dataset } = globalThis;
      const options = { ...train, assistant_only_loss: true, run_name: null };
      const logs = await trainer.train(dataset, { ...options, test_size: 0.1, max_steps: 1 });
      const { rows } = await trainer.evaluate();
      const steps = { ...options, num_train_epochs: 1, max_steps: -1 };
      const { total_steps: single } = await trainer.prepare(dataset, steps);
      const { total_steps: packed } = await trainer.prepare(dataset, { ...steps, packing: true, max_length: 512 });
      await trainer.dispose();
      return { logs, rows, packed, single };
    }, config.train);
    assert.ok(logs[0].loss > 0 && logs[0].data_millis >= 0 && rows > 0);
    assert.ok(packed * 3 < single, `${packed} packed and ${single} single steps`);
  });

  await t.test("trains all weights, saves the model, and goes on with a run of them that was left", async () => {
    const whole = await trainsAllWeights(page, "cpu");
    const parts = valueOf(await page.evaluate(inTwoParts, { train: ALL_WEIGHTS, device: "cpu" }));
    const numbers = ({ step, loss, grad_norm }) => ({ step, loss, grad_norm });
    assert.deepEqual(parts.steps.map(numbers), whole.steps.map(numbers));
    assert.equal(parts.last, whole.last);
  });
});
