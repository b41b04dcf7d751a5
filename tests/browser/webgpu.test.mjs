// Without WebGPU both faces say so, and how to get it, and compute all the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openLab } from "./support.mjs";

test("without WebGPU", async (t) => {
  const lab = await openLab(t, { device: "cpu", isolated: false });

  await t.test("loading a model for it fails with webgpu-unavailable", async () => {
    const { error } = await lab.page.evaluate(() =>
      globalThis.runner.outcome(() => globalThis.runner.tabtune.Trainer.load("/bundled/", { device: "webgpu" })),
    );
    assert.equal(error?.code, "webgpu-unavailable");
    assert.match(error.message, /WebGPU/);
  });

  await t.test("the processor takes its place, and says why and what is missing for all cores", async () => {
    const { adapter, cores, asked } = await lab.page.evaluate(async () => {
      const load = async (device) => {
        const trainer = await globalThis.runner.tabtune.Trainer.load("/bundled/", { device });
        await trainer.dispose();
        return trainer.adapter;
      };
      return { adapter: await load("auto"), cores: navigator.hardwareConcurrency, asked: await load("cpu") };
    });
    assert.deepEqual([adapter.backend, adapter.name, adapter.is_software], ["cpu", "1 worker on the processor", true]);
    assert.match(adapter.hint, /^This browser .*WebGPU.* chrome:\/\/flags\/#enable-unsafe-webgpu/);
    assert.equal(adapter.hint.includes("Cross-Origin-Opener-Policy"), cores > 1);
    assert.equal(asked.hint?.includes("WebGPU") ?? false, false, "who asked for the processor is not told of the GPU");
  });

  await t.test("the page goes on with the processor, and says so", async () => {
    await lab.page.goto(`${lab.server.origin}/#train`);
    const found = lab.page.locator("#device-found");
    await found.filter({ hasText: "WebGPU" }).waitFor();
    assert.match(await found.innerText(), /^Runs on the processor\. This browser .*WebGPU/);
    await lab.page.locator("#start:enabled").waitFor();
  });
});

test("where the processor plays the GPU, it computes as itself, and says so", async (t) => {
  const lab = await openLab(t, { isolated: true });
  const { adapter, estimates } = await lab.page.evaluate(async () => {
    const { tabtune } = globalThis.runner;
    const trainer = await tabtune.Trainer.load("/bundled/");
    await trainer.dispose();
    const estimates = {};
    for (const device of [undefined, "cpu", "webgpu"]) estimates[device] = (await tabtune.Trainer.estimate("/bundled/", { device })).peak_gpu_bytes;
    return { adapter: trainer.adapter, estimates };
  });
  assert.equal(adapter.backend, "cpu");
  assert.match(adapter.hint, /^The processor plays the GPU .*chrome:\/\/gpu tells what is blocked\.$/);
  assert.equal(estimates.undefined, estimates.cpu, "an estimate is for the device that loading would take");
  assert.notEqual(estimates.cpu, estimates.webgpu);
});
