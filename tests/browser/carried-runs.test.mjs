// A run that began in one browser goes on in another: two origins, whose storages know nothing of each other.
import assert from "node:assert/strict";
import { test } from "node:test";
import { serve } from "../../tools/lib/server.mjs";
import { openLab, valueOf } from "./support.mjs";

const STEPS = 6;
const CUT = 3;

/** Runs in the page: takes the run up where it is, until `last` or its end. */
async function train({ run_name, dataset = "rows", last, steps, train = {}, lora = { r: 8, lora_dropout: 0.1 }, quantization = { load_in_4bit: true } }) {
  const { tabtune, outcome } = globalThis.runner;
  return outcome(async () => {
    const trainer = await tabtune.Trainer.load("/bundled/", {
      device: "cpu",
      quantization,
      ...(lora && { lora }),
      train: { max_steps: steps, learning_rate: 1e-3, max_length: 64, shuffle_dataset: true, seed: 3, ...train },
    });
    try {
      const told = [];
      const asking = { sample_prompts: ["The"], sample_max_new_tokens: 4 };
      const run = { run_name, resume_from_checkpoint: true, save_steps: 1, policy: false, ...asking };
      for await (const { step, loss } of trainer.train(await tabtune.Dataset.open(dataset), run)) {
        told.push([step, loss]);
        if (step === last) break;
      }
      return { told, resumed: trainer.plan.resumed?.step, samples: await trainer.samples() };
    } finally {
      await trainer.dispose();
    }
  });
}

/** Runs in the page: a run as bytes, in base64. */
function takeOut(run_name) {
  const { tabtune, outcome, toBase64 } = globalThis.runner;
  return outcome(async () => {
    const told = [];
    const blob = await tabtune.Trainer.export_run(run_name, { progress_callback: ({ loaded, total }) => told.push([loaded, total]) });
    return { base64: await toBase64(new Uint8Array(await blob.arrayBuffer())), last: told.at(-1) };
  });
}

/** Runs in the page: takes a run in, as a Blob and under a name. */
function takeIn({ run_name, base64, options, changed }) {
  const { tabtune, outcome } = globalThis.runner;
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  if (changed !== undefined) bytes[changed] ^= 1;
  return outcome(async () => {
    const { step } = await tabtune.Trainer.import_run(run_name, changed === undefined ? new Blob([bytes]) : bytes, options);
    return { step, kept: (await tabtune.Trainer.checkpoints(run_name)).map((saved) => saved.step) };
  });
}

/** Runs in the page: imports the bundled rows, which another page may call otherwise. */
const importRows = (name) => globalThis.runner.importFrom(name, "/rows.jsonl").then(() => undefined);

test("a run goes on in another browser", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  const other = await serve(lab.mounts, { isolated: true });
  t.after(() => other.close());
  const there = await lab.browser.newPage();
  await there.goto(`${other.origin}/runner/`);
  await there.waitForFunction(() => "runner" in globalThis);
  const here = lab.page;
  await here.evaluate(importRows, "rows");
  await there.evaluate(importRows, "facts");

  await t.test("with the same losses and answers, under other names of run and rows", async () => {
    const whole = valueOf(await here.evaluate(train, { run_name: "whole", steps: STEPS }));
    const begun = valueOf(await here.evaluate(train, { run_name: "begun", steps: STEPS, last: CUT }));
    assert.deepEqual(begun.told, whole.told.slice(0, CUT));
    const { base64, last } = valueOf(await here.evaluate(takeOut, "begun"));
    assert.ok(last[0] === last[1] && last[1] > 100_000, `${last}`);
    const taken = valueOf(await there.evaluate(takeIn, { run_name: "elsewhere", base64 }));
    assert.deepEqual(taken, { step: CUT, kept: [CUT] });
    const rest = valueOf(await there.evaluate(train, { run_name: "elsewhere", dataset: "facts", steps: STEPS }));
    assert.equal(rest.resumed, CUT);
    assert.deepEqual([...begun.told, ...rest.told], whole.told);
    assert.deepEqual(rest.samples, whole.samples);
  });

  await t.test("with all of its weights", async () => {
    const full = { steps: 4, train: { finetuning_type: "full", optim: "sgd" }, lora: null, quantization: {} };
    const whole = valueOf(await here.evaluate(train, { run_name: "whole of all", ...full }));
    valueOf(await here.evaluate(train, { run_name: "all", last: 2, ...full }));
    const { base64 } = valueOf(await here.evaluate(takeOut, "all"));
    assert.ok(base64.length > 5_000_000, `${base64.length} characters`);
    valueOf(await there.evaluate(takeIn, { run_name: "all", base64 }));
    const rest = valueOf(await there.evaluate(train, { run_name: "all", dataset: "facts", ...full }));
    assert.deepEqual([rest.resumed, rest.told], [2, whole.told.slice(2)]);
  });

  await t.test("unless it is damaged, or would replace one unasked", async () => {
    const { base64 } = valueOf(await here.evaluate(takeOut, "begun"));
    const refused = async (job) => (await there.evaluate(takeIn, { base64, ...job })).error;
    const replaced = await refused({ run_name: "elsewhere" });
    assert.deepEqual([replaced.code, /up to step 6: .*overwrite/.test(replaced.message)], ["bad-state", true]);
    const damaged = await refused({ run_name: "new", changed: 5000 });
    assert.deepEqual([damaged.code, /damaged/.test(damaged.message)], ["bad-data", true]);
    assert.equal((await refused({ run_name: "new", base64: "AAAA" })).code, "bad-data");
    assert.equal((await refused({ run_name: "" })).code, "bad-option");
    assert.match((await refused({ run_name: "new", options: { force: true } })).message, /force is not an option/);
    assert.deepEqual(await there.evaluate(() => globalThis.runner.tabtune.Trainer.checkpoints("new")), []);
    const over = valueOf(await there.evaluate(takeIn, { run_name: "elsewhere", base64, options: { overwrite: true } }));
    assert.deepEqual(over, { step: CUT, kept: [CUT] });
    assert.equal((await here.evaluate(takeOut, "nothing")).error.code, "bad-state");
    const stopped = await there.evaluate(async (base64) => {
      const { tabtune, outcome } = globalThis.runner;
      const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
      const controller = new AbortController();
      const options = { signal: controller.signal, progress_callback: () => controller.abort() };
      const { error } = await outcome(() => tabtune.Trainer.import_run("stopped", bytes, options));
      return { code: error?.code, kept: await tabtune.Trainer.checkpoints("stopped") };
    }, valueOf(await here.evaluate(takeOut, "all")).base64);
    assert.deepEqual(stopped, { code: "cancelled", kept: [] });
  });
});
