// A hundred steps: after the first ten nothing grows any more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bundledConfig, jsonl, openLab } from "./support.mjs";

/** Measures the JavaScript heaps of the page and of its worker after a full collection. */
async function openHeaps(page) {
  const devtools = await page.context().newCDPSession(page);
  const answers = new Map();
  let worker;
  let last_id = 0;
  devtools.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => {
    // The first one is the trainer's; the one of the datasets comes later and goes when it is idle.
    if (targetInfo.type === "worker") worker ??= sessionId;
  });
  devtools.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    answers.get(id)?.(result);
  });
  await devtools.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const sendToWorker = (method) =>
    new Promise((resolve) => {
      answers.set(++last_id, resolve);
      const message = JSON.stringify({ id: last_id, method });
      devtools.send("Target.sendMessageToTarget", { sessionId: worker, message });
    });
  /** What is on its way to be thrown away may be there once more, and what is kept always is. */
  const measure = async (send) => {
    let least = Infinity;
    for (let round = 0; round < 4; round++) {
      await send("HeapProfiler.collectGarbage");
      least = Math.min(least, (await send("Runtime.getHeapUsage")).usedSize);
    }
    return least;
  };
  return async () => {
    assert.ok(worker, "the worker is seen");
    return { page: await measure((method) => devtools.send(method)), worker: await measure(sendToWorker) };
  };
}

/** What V8 may keep of compiled code and caches between two full collections; far below a leak per step. */
const NOISE_BYTES = 64 * 1024;

const STEADY = ["buffers", "buffer_bytes", "peak_buffer_bytes", "pipelines", "bind_groups", "wasm_heap_bytes"];

for (const device of ["webgpu", "cpu"]) test(`a hundred steps on ${device} grow nothing`, (t) => growNothing(t, device));

async function growNothing(t, device) {
  const lab = await openLab(t, { device });
  // Rows of many lengths, all short.
  lab.mounts["/rows.jsonl"] = jsonl(Array.from({ length: 12 }, (_, place) => ({ text: "tab tune ".repeat(1 + (place % 6)) })));
  const heaps = await openHeaps(lab.page);
  const advance = (count) =>
    lab.page.evaluate(async (steps) => {
      for (let step = 0; step < steps; step++) await globalThis.logs.next();
      return globalThis.trainer.counters();
    }, count);

  await lab.page.evaluate(async (config) => {
    const { tabtune, importFrom } = globalThis.runner;
    globalThis.trainer = await tabtune.Trainer.load("/fixtures/smollm2_f16_tied/model/", config);
    // Checkpoints are staged in buffers of their own for a moment; the soak looks at a run that saves.
    await globalThis.trainer.prepare(await importFrom("rows", "/rows.jsonl"), { run_name: null });
    globalThis.logs = globalThis.trainer.train();
  }, { ...bundledConfig({ max_steps: 100, assistant_only_loss: false }), device });

  const prepared = await lab.page.evaluate(() => globalThis.trainer.counters());
  const after_one = await advance(1);
  for (const name of ["pipelines", "bind_groups", "buffers"]) {
    assert.equal(after_one[name], prepared[name], `${name} are made before the first step`);
  }
  const after_ten = await advance(9);
  const heaps_after_ten = await heaps();
  let counters = after_ten;
  for (let round = 0; round < 9; round++) {
    counters = await advance(10);
    for (const name of STEADY) assert.equal(counters[name], after_ten[name], `${name} after ${20 + 10 * round} steps`);
  }
  const heaps_after_all = await heaps();
  for (const name of ["page", "worker"]) {
    const grown = heaps_after_all[name] - heaps_after_ten[name];
    t.diagnostic(`${name}: ${grown} bytes more of JavaScript heap after 100 steps than after 10`);
    assert.ok(grown <= NOISE_BYTES, `the heap of the ${name} grew by ${grown} bytes`);
  }
  assert.ok(counters.dispatches > after_ten.dispatches, "steps were run at all");

  const freed = await lab.page.evaluate(async () => {
    const { done } = await globalThis.logs.next();
    await globalThis.trainer.dispose();
    await globalThis.trainer.dispose();
    const refused = await globalThis.runner.outcome(() => globalThis.trainer.counters());
    return { done, refused };
  });
  assert.equal(freed.done, true, "the run ends after its last step");
  assert.equal(freed.refused.error.code, "bad-state");
}
