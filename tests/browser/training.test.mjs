// The bundled job through the package, in a real browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkTraining } from "./learning.mjs";
import { bundledConfig, openLab, valueOf } from "./support.mjs";

test("training on the processor lowers the loss, on the rows and on held-out rows, and writes a PEFT adapter", async (t) => {
  await checkTraining(await openLab(t, { device: "cpu" }));
});

test("a run of the bundled model", async (t) => {
  const lab = await openLab(t, { device: "cpu" });

  await t.test("gives the same losses and the same adapter to the bit with the same seed", async () => {
    const bundled = bundledConfig({ max_steps: 4, gradient_accumulation_steps: 2, shuffle_dataset: true, seed: 7 });
    const config = { ...bundled, lora: { ...bundled.lora, lora_dropout: 0.1 } };
    // Two engines, and one that has trained already.
    const first = valueOf(await lab.run({ config }));
    const [second, third, other] = await lab.page.evaluate(async (config) => {
      const { tabtune, filesOf } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/bundled/", config);
      const dataset = await tabtune.Dataset.open("rows");
      const runs = [];
      for (const seed of [7, 7, 8]) {
        const steps = await trainer.train(dataset, { seed, overwrite: true });
        runs.push({ steps, files: await filesOf(trainer) });
      }
      await trainer.dispose();
      return runs;
    }, config);
    const numbers = ({ steps }) => steps.map(({ loss, grad_norm, num_tokens }) => ({ loss, grad_norm, num_tokens }));
    for (const same of [second, third]) {
      assert.deepEqual(numbers(first), numbers(same));
      assert.deepEqual(first.files, same.files);
    }
    assert.notDeepEqual(numbers(first), numbers(other));
  });

  await t.test("makes no network request between the preparation and the end", async () => {
    await lab.page.evaluate(async (config) => {
      const { tabtune, importFrom } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/bundled/", {
        ...config,
        eval_dataset: await importFrom("heldout", "/heldout.jsonl"),
      });
      await trainer.prepare(await importFrom("rows", "/rows.jsonl"), { overwrite: true });
      globalThis.prepared = trainer;
    }, bundledConfig({ max_steps: 10, eval_steps: 4 }));
    const before = [lab.requests.length, lab.server.requests.length];
    assert.ok(before.every((count) => count > 0), "requests are seen at all");
    assert.ok(lab.requests.some((url) => url.endsWith(".wasm")), "those of the worker too");
    const logs = await lab.page.evaluate(async () => {
      const logs = [];
      for await (const log of globalThis.prepared.train()) logs.push(log);
      await globalThis.prepared.save();
      for await (const _ of globalThis.prepared.generate([{ role: "user", content: "Hi" }], { max_new_tokens: 8 }));
      await globalThis.prepared.dispose();
      return logs;
    });
    assert.deepEqual(logs.filter((log) => "eval_loss" in log).map(({ step }) => step), [4, 8]);
    assert.deepEqual([lab.requests.length, lab.server.requests.length], before, lab.requests.slice(before[0]).join(", "));
  });

  await t.test("stops when asked and keeps the adapter as the last step left it", async () => {
    const outcome = await lab.page.evaluate(async (config) => {
      const { tabtune, importFrom, outcome } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/bundled/", config);
      const controller = new AbortController();
      let steps = 0;
      const stopped = await outcome(async () => {
        const options = { signal: controller.signal, overwrite: true };
        for await (const { step } of trainer.train(await importFrom("rows", "/rows.jsonl"), options)) {
          steps = step;
          if (step === 3) controller.abort();
        }
      });
      const saved = Object.keys(await trainer.save());
      const rest = [];
      for await (const { step } of trainer.train()) rest.push(step);
      await trainer.dispose();
      return { stopped, steps, saved, rest };
    }, bundledConfig({ max_steps: 10 }));
    assert.equal(outcome.stopped.error?.code, "cancelled");
    assert.equal(outcome.steps, 3);
    assert.equal(outcome.saved.length, 2);
    assert.deepEqual(outcome.rest, [4, 5, 6, 7, 8, 9, 10], "without a dataset the prepared run goes on");
  });

  await t.test("replaces no checkpoints of another run, and says how to train on after the last step", async () => {
    const { kept, another, more } = await lab.page.evaluate(async (config) => {
      const { tabtune, outcome } = globalThis.runner;
      const dataset = await tabtune.Dataset.open("rows");
      const run = (options) =>
        outcome(async () => {
          const trainer = await tabtune.Trainer.load("/bundled/", config);
          return outcome(() => trainer.train(dataset, options)).finally(() => trainer.dispose());
        }).then(({ value }) => value);
      const another = await run({ max_steps: 1, learning_rate: 1e-3 });
      const more = await run({ max_steps: 12, resume_from_checkpoint: true });
      const kept = await tabtune.Trainer.checkpoints("rows");
      return { kept, another, more };
    }, bundledConfig({ max_steps: 10 }));
    assert.equal(another.error?.code, "bad-state");
    assert.match(another.error.message, /up to step 10 .*run_name.*overwrite.*resume_from_checkpoint/);
    assert.equal(more.error?.code, "bad-option");
    assert.match(more.error.message, /max_steps is 12, but was 10 .*init_adapter/);
    assert.equal(kept.at(-1).step, 10);
  });
});
