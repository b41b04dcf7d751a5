// The engine in Firefox by WebGPU, which the processor plays here, without subgroups.
import assert from "node:assert/strict";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { checkParity } from "../browser/parity.mjs";
import { checkShaders } from "../browser/shaders.mjs";
import { bundledConfig, fewRows, mean, valueOf } from "../browser/support.mjs";
import { openLab } from "./support.mjs";

test("in Firefox by WebGPU", async (t) => {
  const lab = await openLab(t);

  await t.test("every shader compiles that Firefox has the features for", async (t) => {
    const lacking = await checkShaders(t, lab.page);
    assert.ok(lacking.every((name) => /subgroup/.test(name)), `${lacking.join(", ")} need subgroups`);
  });

  await t.test("the bundled model learns, and a step's time is what it took", async () => {
    lab.mounts["/few.jsonl"] = fewRows(paths.data);
    const config = bundledConfig({ max_steps: 8, per_device_train_batch_size: 2, max_length: 64 });
    const job = { device: "webgpu", config, rows: "/few.jsonl", heldout: "/heldout.jsonl", evaluate: true };
    const began = performance.now();
    const { steps, evals, files } = valueOf(await lab.run(job));
    const took = performance.now() - began;
    assert.equal(steps.length, 8);
    assert.ok(steps.every(({ loss, grad_norm }) => Number.isFinite(loss) && grad_norm > 0));
    assert.ok(mean(steps.slice(-3).map(({ loss }) => loss)) < mean(steps.slice(0, 3).map(({ loss }) => loss)));
    assert.ok(evals.at(-1).eval_loss < evals[0].eval_loss);
    assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
    // Firefox tells of two steps at once. The first ones compile.
    const millis = steps.slice(3).map(({ step_millis }) => step_millis).sort((a, b) => a - b);
    const words = `steps took ${millis.map(Math.round).join(", ")} ms of ${Math.round(took)}`;
    // A machine that does something else meanwhile makes one of them long.
    assert.ok(millis[0] > millis[millis.length >> 1] / 10, words);
    assert.ok(steps.reduce((sum, { step_millis }) => sum + step_millis, 0) < took, words);
  });

  // The run before had a device of its own, as trainers have.
  await lab.keepEngines();
  await t.test("small models train as PyTorch trains them", (t) => checkParity(t, (job) => lab.run({ device: "webgpu", ...job })));
});
