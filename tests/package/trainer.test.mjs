// The trainer on a page whose engine is played: options, the engine that hangs or dies, what a run holds.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE } from "../../www/package/build/pulse.js";
import { onRenamed, tellRenamed } from "../../www/package/build/renames.js";
import { RESTART_SECONDS } from "../../www/package/build/run.js";
import { Trainer } from "../../www/package/build/trainer.js";
import { playClock } from "./played-clock.mjs";
import { answers, playPage, workers } from "./played-worker.mjs";

playPage();
Object.assign(PATIENCE, { ping: 0.02, silence: 0.1, grace: 0.1, limit: 0.6 });
RESTART_SECONDS.splice(0, 3, 0.01, 0.01, 0.01);

const rows = { name: "rows" };
const model = "http://localhost/models/tiny/";
const STEPS = 4;

/** What the engines have stored, and what the last one holds. */
let stored, engine;

beforeEach(() => {
  workers.length = 0;
  stored = { step: 0 };
  for (const call of Object.keys(answers)) delete answers[call];
  const list = () => ({ active: engine.active, adapters: engine.names.map((name) => ({ name })), has_run: engine.run !== undefined });
  Object.assign(answers, {
    start: () => ({ is_software: true }),
    load_model: () => {
      engine = { active: null, names: [], run: undefined };
      return { vocab_size: 10 };
    },
    load_adapter: ({ name }) => {
      engine.names = [...new Set([...engine.names, name])].sort();
      engine.active = name;
      return list();
    },
    blend_adapters: ({ name, parts }) => {
      engine.blended = parts;
      return answers.load_adapter({ name });
    },
    use_adapter: ({ name = null }) => {
      engine.active = name;
      return list();
    },
    adapters: list,
    prepare: ({ resume_from_checkpoint }) => {
      const step = resume_from_checkpoint ? stored.step : 0;
      engine.run = { step };
      engine.names = [...new Set([...engine.names, "default"])].sort();
      engine.active = "default";
      return { total_steps: STEPS, ...(step > 0 && { resumed: { step, log: [], damaged: [] } }) };
    },
    train_step: () => (engine.run.step === STEPS ? undefined : stepped()),
    delete_adapter: ({ name }) => {
      engine.names = engine.names.filter((other) => other !== name);
      if (name === "default") engine.run = undefined;
      if (engine.active === name) engine.active = null;
      return list();
    },
    save: () => ({ "adapter_config.json": new Uint8Array(2) }),
    preview: ({ train }) => [structuredClone(train)],
    save_checkpoint: () => ({ logs: [], checkpoint: saved(engine.run.step) }),
    generate: () => ({ text: "yes", tokens: 1, stop: "eos" }),
    close: () => ({ buffers: 0 }),
  });
});

function saved(step) {
  stored.step = step;
  return { step, bytes: 1, millis: 1, cleared: false };
}

function stepped() {
  const step = ++engine.run.step;
  return { step, total_steps: STEPS, loss: 1, step_millis: 1, eval_due: false, checkpoint: saved(step) };
}

test("an option that a call does not have is refused, and where it belongs is said", async () => {
  const refused = (work, message) => assert.rejects(work, (error) => error.code === "bad-option" && message.test(error.message));
  await refused(() => Trainer.load(model, { dtype: "q4" }), /dtype is not an option of Trainer.load; .*load_in_4bit: true/);
  await refused(() => Trainer.load(model, { max_steps: 3 }), /belongs into "train"/);
  await refused(() => Trainer.load(model, { load_in_4bit: true }), /belongs into "quantization"/);
  await refused(() => Trainer.load(model, { policies: {} }), /policies is not an option.* there are .*policy/);
  await refused(() => Trainer.load(model, { policy: { min_batery: 1 } }), /policy.min_batery is unknown/);
  await refused(() => Trainer.load(model, { progress_callback: 3 }), /progress_callback must be a function/);
  await refused(() => Trainer.load(model, null), /must be an object/);
  for (const nothing of [undefined, null, "", {}, 3]) await refused(() => Trainer.load(nothing), /a hub id, an address/);
  await refused(() => Trainer.load("http://[1"), /http:..\[1 is neither the id of a model on a hub nor an address/);
  for (const call of [Trainer.load, Trainer.estimate]) await refused(() => call(model, { device: "gpu" }), /device is "gpu", but must be "auto", "webgpu", "cpu" or a/);
  await refused(() => Trainer.estimate(model, { progress_callback() {} }), /progress_callback is not an option of Trainer.estimate/);
  await refused(() => Trainer.compare(model, { quantization: {} }), /quantization is not an option of Trainer.compare; there are .*lora, train/);
  assert.equal(workers.length, 0, "nothing was started for it");

  const trainer = await Trainer.load(model);
  await refused(() => trainer.prepare(rows, { quantization: {} }), /quantization is not an option of prepare: it is one of Trainer.load/);
  await refused(() => trainer.prepare(rows, { if_running: "stop" }), /if_running is "stop"/);
  await refused(() => trainer.prepare("rows"), /must be a Dataset/);
  await refused(async () => await trainer.train({ max_steps: 3 }), /must be a Dataset/);
  await refused(() => trainer.lengths(), /must be a Dataset/);
  await refused(() => trainer.adapters.load("", model), /needs a name/);
  await trainer.dispose();
});

test("awaiting a training trains, and awaiting an answer answers", async () => {
  const trainer = await Trainer.load(model);
  const logs = await trainer.train(rows);
  assert.deepEqual(logs.map(({ step }) => step), [1, 2, 3, 4]);
  assert.equal((await trainer.generate("and then")).text, "yes");
  await assert.rejects(async () => await trainer.train("rows"), { code: "bad-option" });
  await trainer.dispose();
});

test("a run whose rows get another name is prepared on them again, under its own name", async () => {
  const trainer = await Trainer.load(model);
  const asked = [];
  const { prepare } = answers;
  answers.prepare = (args) => {
    asked.push([args.dataset, args.run_name]);
    return prepare(args);
  };
  for await (const { step } of trainer.train(rows)) {
    if (step !== 2 || workers.length > 1) continue;
    const over = new AbortController();
    const heard = new Promise((resolve) => onRenamed(({ to }) => to === "facts" && resolve(), over.signal));
    tellRenamed({ from: "others", to: "rows" });
    tellRenamed({ from: "rows", to: "facts" });
    await heard;
    over.abort();
    // All who listen hear of it in the same turn of the event loop, in any order.
    await sleep(20);
    workers[0].close();
  }
  assert.deepEqual(asked, [["rows", "rows"], ["facts", "rows"]]);
  await trainer.dispose();
});

test("a run whose worker ends by itself goes on from its last checkpoint", async () => {
  const trainer = await Trainer.load(model);
  await trainer.adapters.load("shop", [new File(["{}"], "adapter_config.json")]);
  const told = [];
  const steps = [];
  for await (const { step } of trainer.train(rows, { on_event: ({ type, reason }) => told.push(reason ? `${type} ${reason}` : type) })) {
    steps.push(step);
    if (step === 2 && workers.length === 1) workers[0].close();
  }
  assert.deepEqual(steps, [1, 2, 3, 4]);
  assert.deepEqual(told.filter((type) => !/policy|^checkpoint/.test(type)), ["started", "unresponsive ended", "recovered", "finished"]);
  assert.equal(workers.length, 2);
  assert.deepEqual((await trainer.adapters.list()).map(({ name }) => name), ["default", "shop"]);
  assert.equal(trainer.adapters.active, "default");
  await trainer.dispose();
});

test("a run goes on on the device that it began on, and an estimate is of the one that is asked for", async () => {
  const asked = [];
  let backend;
  Object.assign(answers, {
    start: ({ device }) => (asked.push(device), { backend }),
    estimate: ({ device }) => (asked.push(device), { peak_gpu_bytes: 1 }),
  });
  for (const [found, given] of [["webgpu", undefined], ["cpu", "auto"], ["cpu", "cpu"], ["webgpu", "webgpu"]]) {
    backend = found;
    const trainer = await Trainer.load(model, { device: given });
    const worker = workers.at(-1);
    await trainer.train(rows, { on_event: ({ type }) => type === "started" && worker.close() });
    await trainer.dispose();
    assert.deepEqual(asked.splice(0), [given ?? "auto", found]);
    await Trainer.estimate(model, { device: given });
    assert.deepEqual(asked.splice(0), [given ?? "auto"]);
  }
});

test("an engine that hangs is ended when the caller stops, and the next call goes on in another", async (t) => {
  const { during } = playClock(t);
  const trainer = await Trainer.load(model);
  const controller = new AbortController();
  const told = [];
  const on_event = ({ type, reason }) => told.push(reason ? `${type} ${reason}` : type);
  const steps = [];
  const began = performance.now();
  const training = async () => {
    for await (const { step } of trainer.train(rows, { signal: controller.signal, on_event })) {
      steps.push(step);
      if (step === 2) {
        workers[0].hangs = true;
        setTimeout(() => controller.abort(), 250);
      }
    }
  };
  await during(assert.rejects(training, { code: "cancelled" }));
  assert.ok(performance.now() - began < 3000);
  assert.ok(trainer.ended && workers[0].is_over);
  assert.ok(told.includes("unresponsive silent") && told.at(-1) === "stopped cancelled", told.join());
  steps.push(...(await during(trainer.train())).map(({ step }) => step));
  assert.deepEqual(steps, [1, 2, 3, 4]);
  assert.equal(workers.length, 2);
  await trainer.dispose();
});

test("asking an engine that has ended starts another, with its adapters and the one that was active", async () => {
  const trainer = await Trainer.load(model, { init_adapter: [new File(["{}"], "adapter_config.json")] });
  assert.equal(trainer.adapters.active, "default");
  await trainer.adapters.load("shop", { "adapter_config.json": new Uint8Array(2), "adapter_model.safetensors": new Uint8Array(2) });
  await trainer.adapters.switch("default");
  workers[0].close();
  await sleep(5);
  assert.ok(trainer.ended);
  const [first, second] = await Promise.all([trainer.generate("a"), trainer.generate("b")]);
  assert.deepEqual([first.text, second.text, workers.length], ["yes", "yes", 2], "two calls start one engine");
  assert.deepEqual([engine.names, engine.active], [["default", "shop"], "default"]);
  await trainer.dispose();
  await assert.rejects(async () => await trainer.generate("c"), { code: "bad-state" });
  assert.equal(workers.length, 2, "what was disposed of stays so");
});

test("a blend is there again in another engine, as it was and without its parts", async () => {
  const loaded = [];
  const { load_adapter } = answers;
  answers.load_adapter = (args) => {
    if (args.folder) loaded.push([args.name, args.folder]);
    return load_adapter(args);
  };
  answers.save = ({ name }) => ({ "adapter_config.json": new TextEncoder().encode(name), "adapter_model.safetensors": new Uint8Array(2) });
  const trainer = await Trainer.load(model);
  await trainer.adapters.load("shop", { "adapter_config.json": new Uint8Array(2), "adapter_model.safetensors": new Uint8Array(2) });
  const parts = [{ adapter: "shop", weight: -0.5, more: () => undefined }];
  assert.deepEqual(await trainer.adapters.blend("half", parts), { name: "half" });
  assert.deepEqual(engine.blended, [{ adapter: "shop", weight: -0.5 }]);
  assert.equal(trainer.adapters.active, "half");
  await trainer.adapters.delete("shop");
  workers.at(-1).close();
  await sleep(5);
  loaded.length = 0;
  await trainer.generate("a");
  assert.deepEqual([engine.names, engine.active], [["half"], "half"]);
  const [[name, { blobs }]] = loaded;
  assert.deepEqual([name, await blobs["adapter_config.json"].text()], ["half", "half"]);

  for (const parts of [undefined, "shop", { adapter: "half", weight: 1 }]) await assert.rejects(trainer.adapters.blend("b", parts), { code: "bad-option" });
  await assert.rejects(trainer.adapters.blend("", [{ adapter: "half", weight: 1 }]), { code: "bad-option" });
  await trainer.train(rows);
  for await (const { step } of trainer.train(rows)) {
    if (step === 1) await assert.rejects(trainer.adapters.blend("default", [{ adapter: "half", weight: 1 }]), { code: "bad-state" });
  }
  await trainer.adapters.blend("default", [{ adapter: "half", weight: 1 }]);
  await assert.rejects(async () => await trainer.train(), { code: "bad-state" });
  await trainer.dispose();
});

test("what a run of all weights made of them, which is no adapter, is active again in another engine, unless it was off", async () => {
  const { prepare } = answers;
  answers.prepare = (args) => {
    const plan = prepare(args);
    engine.names = [];
    return plan;
  };
  for (const [off, active] of [[false, "default"], [true, null]]) {
    const trainer = await Trainer.load(model, { train: { finetuning_type: "full" } });
    await trainer.train(rows);
    if (off) await trainer.adapters.off();
    workers.at(-1).close();
    await sleep(5);
    await trainer.generate("a");
    assert.deepEqual([await trainer.adapters.list(), trainer.adapters.active, engine.active], [[], active, active]);
    await trainer.dispose();
  }
});

const locked = async () => (await navigator.locks.query()).held.map(({ name }) => name).filter((name) => name.startsWith("tabtune-run"));

test("what was disposed of starts no engine and holds no name", async () => {
  const trainer = await Trainer.load(model);
  await trainer.prepare(rows);
  await trainer.dispose();
  await assert.rejects(trainer.prepare(rows), { code: "bad-state", message: /load the model again/ });
  await assert.rejects(async () => await trainer.train(rows), { code: "bad-state" });
  await assert.rejects(async () => await trainer.train(), { code: "bad-state" });
  assert.equal(workers.length, 1);
  assert.deepEqual(await locked(), []);
});

test("disposing while another engine is started leaves none", async () => {
  for (const use of [(trainer) => trainer.prepare(rows), (trainer) => trainer.save(), async (trainer) => await trainer.train()]) {
    workers.length = 0;
    const trainer = await Trainer.load(model);
    await trainer.prepare(rows);
    workers[0].close();
    await sleep(5);
    const { load_model } = answers;
    answers.load_model = async () => (await sleep(30), load_model());
    const using = assert.rejects(use(trainer), ({ code }) => code === "cancelled" || code === "bad-state");
    await sleep(10);
    assert.equal(workers.length, 2);
    await trainer.dispose();
    await using;
    await sleep(50);
    assert.ok(trainer.ended && workers.every((worker) => worker.is_over) && workers.length === 2);
    assert.deepEqual(await locked(), []);
    answers.load_model = load_model;
  }
});

test("a run that ended unsaved is not taken up as a fresh adapter", async () => {
  for (const is_saved of [false, true]) {
    const trainer = await Trainer.load(model, { init_adapter: [new File(["{}"], "adapter_config.json")] });
    await trainer.train(rows, { run_name: is_saved ? "rows" : null });
    if (!is_saved) stored.step = 0;
    workers.at(-1).close();
    await sleep(5);
    if (is_saved) {
      await trainer.save();
      assert.equal(trainer.plan.resumed.step, STEPS);
    } else {
      const both = await Promise.allSettled([trainer.save(), trainer.generate("a").next()]);
      assert.deepEqual(both.map(({ reason }) => reason?.code), ["bad-state", "bad-state"]);
      assert.match(both[0].reason.message, /no checkpoint of it was saved/);
      assert.equal(trainer.plan, undefined);
      assert.deepEqual([engine.run, engine.names, engine.active], [undefined, ["default"], "default"], "what it started from is back");
      await assert.rejects(async () => await trainer.train(), { code: "bad-state", message: /pass a dataset/ });
    }
    await trainer.dispose();
  }
});

test("a question to an unsaved run whose engine died is refused, and the run makes its steps again", async () => {
  const trainer = await Trainer.load(model);
  answers.train_step = () => {
    if (engine.run.step < STEPS) return { ...stepped(), checkpoint: null };
  };
  const steps = [];
  for await (const { step } of trainer.train(rows, { run_name: null })) {
    steps.push(step);
    if (step !== 2) continue;
    workers[0].close();
    await sleep(5);
    await assert.rejects(async () => await trainer.generate("a"), { code: "bad-state", message: /no checkpoint of it was saved/ });
    assert.ok(trainer.plan);
  }
  assert.deepEqual(steps, [1, 2, 3, 4]);
  await trainer.dispose();
});

test("a run that was not saved may be trained anew", async () => {
  const trainer = await Trainer.load(model);
  const steps = [];
  for await (const { step } of trainer.train(rows, { run_name: null })) {
    steps.push(step);
    if (step === 2) break;
  }
  stored.step = 0;
  workers[0].close();
  await sleep(5);
  steps.push(...(await trainer.train()).map(({ step }) => step));
  assert.deepEqual(steps, [1, 2, 3, 4]);
  await trainer.dispose();
});

test("a start that its caller stops is made again for the others", async () => {
  const trainer = await Trainer.load(model);
  await trainer.prepare(rows);
  workers[0].close();
  await sleep(5);
  const controller = new AbortController();
  const { load_model } = answers;
  answers.load_model = async () => (await sleep(20), load_model());
  const stopped = assert.rejects(trainer.lengths(rows, { signal: controller.signal }), { code: "cancelled" });
  const others = Promise.all([trainer.save(), trainer.generate("b")]);
  await sleep(5);
  controller.abort();
  await stopped;
  await others;
  assert.equal(workers.length, 3);
  assert.equal(workers.filter((worker) => !worker.is_over).length, 1);
  await trainer.dispose();
});

test("an engine is not taken for whole when its caller stopped while the run was prepared in it", async () => {
  const trainer = await Trainer.load(model);
  await trainer.prepare(rows);
  workers[0].close();
  await sleep(5);
  const { prepare } = answers;
  answers.prepare = async (args, worker) => {
    await sleep(20);
    if (worker.cancelled.length > 0) throw Object.assign(new Error("stopped"), { code: "cancelled" });
    return prepare(args);
  };
  const controller = new AbortController();
  const stopped = assert.rejects(trainer.lengths(rows, { signal: controller.signal }), { code: "cancelled" });
  const saved = trainer.save();
  while (!workers[1]?.calls.includes("prepare")) await sleep(1);
  controller.abort();
  await stopped;
  await saved;
  assert.ok(engine.run);
  assert.deepEqual(workers.map(({ is_over }) => is_over), [true, true, false]);
  await trainer.dispose();
});

test("a preparation and a question start one engine together", async () => {
  for (const order of [0, 1]) {
    workers.length = 0;
    const trainer = await Trainer.load(model);
    await trainer.prepare(rows);
    workers[0].close();
    await sleep(5);
    const uses = [() => trainer.prepare({ name: "more" }), () => trainer.generate("a").next()];
    if (order === 1) uses.reverse();
    await Promise.all(uses.map((use) => use()));
    assert.equal(workers.filter((worker) => !worker.is_over).length, 1);
    assert.equal(workers.length, 2);
    await trainer.dispose();
  }
});

test("a run waits for the engine that a question has started", async () => {
  const trainer = await Trainer.load(model);
  const steps = [];
  const told = [];
  let answer;
  for await (const { step } of trainer.train(rows, { on_event: ({ type }) => told.push(type) })) {
    steps.push(step);
    if (step !== 2 || answer) continue;
    workers[0].close();
    await sleep(5);
    answer = trainer.save();
    // The engine is there, but the run in it is not yet.
    const { prepare } = answers;
    answers.prepare = async (args) => (await sleep(20), prepare(args));
  }
  await answer;
  assert.deepEqual(steps, [1, 2, 3, 4]);
  assert.equal(workers.length, 2);
  assert.ok(!told.includes("device-lost"));
  await trainer.dispose();
});

test("stopping ends an engine that hangs while a pause saves", async (t) => {
  const { during } = playClock(t);
  const trainer = await Trainer.load(model);
  const controller = new AbortController();
  const began = performance.now();
  let paused;
  const training = async () => {
    for await (const { step } of trainer.train(rows, { signal: controller.signal })) {
      if (step !== 2) continue;
      workers[0].hangs = true;
      paused = assert.rejects(trainer.pause(), { code: "cancelled" });
      setTimeout(() => controller.abort(), 50);
    }
  };
  await during(assert.rejects(training, { code: "cancelled" }));
  await during(paused);
  assert.ok(performance.now() - began < 3000);
  assert.ok(workers[0].is_over);
  await trainer.dispose();
});

test("an engine that answers saves although the caller stops meanwhile", async () => {
  const trainer = await Trainer.load(model);
  const controller = new AbortController();
  const told = [];
  await assert.rejects(async () => {
    for await (const { step } of trainer.train(rows, { signal: controller.signal, on_event: ({ type }) => told.push(type) })) {
      if (step !== 2) continue;
      const { save_checkpoint } = answers;
      answers.save_checkpoint = async () => (await sleep(60), save_checkpoint());
      const paused = trainer.pause();
      setTimeout(() => controller.abort(), 10);
      await paused;
    }
  }, { code: "cancelled" });
  assert.ok(!trainer.ended && told.includes("paused"));
  await trainer.dispose();
});

test("null and undefined are no options", async () => {
  const nothing = { signal: null, token: null, progress_callback: null, eval_dataset: null, init_adapter: null, lora: null, cache: null };
  const trainer = await Trainer.load(model, { ...nothing, device: null, base_model_name_or_path: null, dtype: undefined });
  await trainer.prepare(rows, { signal: null, on_event: null, policy: null, resume_from_checkpoint: null, overwrite: null, if_running: null, quantization: undefined });
  // A signal of another window is of another class.
  const { signal } = new AbortController();
  const foreign = { aborted: false, addEventListener: signal.addEventListener.bind(signal), removeEventListener() {} };
  await trainer.prepare(rows, { signal: foreign });
  const [seen] = await trainer.preview(rows, { signal, on_event() {}, max_length: 8, run_name: null });
  assert.deepEqual(seen, { max_length: 8 }, "what belongs to the page is not sent");
  await assert.rejects(trainer.prepare(rows, { signal: {} }), { code: "bad-option", message: /signal must be an AbortSignal/ });
  assert.equal((await trainer.train(undefined, { max_steps: undefined })).length, STEPS);
  await assert.rejects(async () => await trainer.train(undefined, { seed: undefined, max_steps: 3 }), { code: "bad-option", message: /^max_steps: / });
  await trainer.dispose();

  workers.length = 0;
  for (const init_adapter of ["", 3, "http://[1", {}]) await assert.rejects(Trainer.load(model, { init_adapter }), { code: "bad-option" });
  assert.equal(workers.length, 0, "nothing was loaded for it");
});

test("a stream that is awaited twice gives the same", async () => {
  const trainer = await Trainer.load(model);
  const [running, answering] = [trainer.train(rows), trainer.generate("a")];
  assert.equal((await running).length, STEPS);
  assert.equal((await running).length, STEPS);
  assert.equal((await answering).text, "yes");
  assert.equal((await answering).text, "yes");
  await trainer.dispose();
});

test("an engine that hangs does not keep dispose waiting", async (t) => {
  const { during } = playClock(t);
  const trainer = await Trainer.load(model);
  workers[0].hangs = true;
  const began = performance.now();
  assert.equal(await during(trainer.dispose()), undefined);
  assert.ok(performance.now() - began < 2000);
  assert.ok(workers[0].is_over);
});

test("a preparation that is refused leaves the run before it, with its name", async () => {
  const [trainer, other] = [await Trainer.load(model), await Trainer.load(model)];
  await other.prepare({ name: "taken" });
  const other_engine = engine;
  engine = { active: null, names: [], run: undefined };
  await trainer.prepare(rows);
  const { plan } = trainer;
  await assert.rejects(trainer.prepare({ name: "taken" }), { code: "bad-state", message: /is going on in another/ });
  const prepare = answers.prepare;
  answers.prepare = () => {
    throw Object.assign(new Error("no"), { code: "bad-data" });
  };
  await assert.rejects(trainer.prepare({ name: "empty" }), { code: "bad-data" });
  assert.equal(trainer.plan, plan);
  const held = async () => (await navigator.locks.query()).held.map(({ name }) => name).filter((name) => name.startsWith("tabtune-run"));
  assert.deepEqual(await held(), ["tabtune-run:taken", "tabtune-run:rows"]);
  assert.equal((await trainer.train()).length, STEPS);

  // Where the engine has lost the run on the way, there is none.
  answers.prepare = prepare;
  await trainer.prepare(rows);
  answers.prepare = () => {
    engine.run = undefined;
    throw Object.assign(new Error("no"), { code: "out-of-memory" });
  };
  await assert.rejects(trainer.prepare({ name: "large" }), { code: "out-of-memory" });
  assert.equal(trainer.plan, undefined);
  assert.deepEqual(await held(), ["tabtune-run:taken"]);
  await trainer.dispose();
  engine = other_engine;
  await other.dispose();
});

test("the adapter of a run that is going on is not replaced", async () => {
  const trainer = await Trainer.load(model);
  const files = { "adapter_config.json": new Uint8Array(2), "adapter_model.safetensors": new Uint8Array(2) };
  for await (const { step } of trainer.train(rows)) {
    if (step === 1) await assert.rejects(trainer.adapters.load("default", files), { code: "bad-state" });
  }
  await trainer.adapters.load("default", files);
  assert.equal(trainer.plan, undefined, "the run whose adapter it was is no longer prepared");
  await trainer.dispose();
});
