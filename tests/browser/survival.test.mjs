// A run that is killed at random moments ends with the same adapter, to the bit, as one that never was.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { memoryOf, processesOf } from "../../tools/lib/processes.mjs";
import { eventually, openLab, valueOf } from "./support.mjs";

/** On the processor, and a quarter on a GPU, which takes longer to begin anew. Many more by hand; what a cut after any step and in the midst of saving leaves, tests/resume has. */
const KILLS = Number(process.env.TABTUNE_KILLS ?? 16);
/** Steps of such a run: a GPU that the processor plays takes long for each. */
const STEPS = { cpu: 60, webgpu: 20 };
/** Killing happens within so many milliseconds of a start: while it loads, prepares, steps and saves. */
const LONGEST_LIFE_MILLIS = { cpu: 1500, webgpu: 3000 };
/** How many lists of kernels a worker lives that is to die: of some steps. */
const LISTS_OF_A_LIFE = 40;
/** Chromium gives up on a GPU process that crashes often, and on sites that it crashed under. */
const ARGS = ["--disable-gpu-process-crash-limit", "--disable-domain-blocking-for-3d-apis"];

/**
 * Runs in the page: takes the run up where it is and trains it to its end. A run makes no step that nobody asks for, so it waits for
 * `globalThis.goOn()` once it has told so many steps, or recovered so many times, as `holds` says.
 */
async function trainToTheEnd({ device, run_name, steps, quantization, holds = {}, options = {} }) {
  const { tabtune, outcome } = globalThis.runner;
  globalThis.steps = [];
  globalThis.events = [];
  const gone_on = new Promise((resolve) => (globalThis.goOn = resolve));
  const isHeld = () => globalThis.steps.length >= (holds.steps ?? Infinity) || globalThis.events.filter((type) => type === "recovered").length >= (holds.recovered ?? Infinity);
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open("rows");
    const trainer = await tabtune.Trainer.load("/model/", {
      device,
      ...(quantization && { quantization }),
      lora: { r: 8, lora_dropout: 0.1 },
      train: { max_steps: steps, learning_rate: 1e-3, per_device_train_batch_size: 2, shuffle_dataset: true, seed: 3 },
    });
    globalThis.trainer = trainer;
    const run = {
      run_name,
      resume_from_checkpoint: true,
      if_running: "wait",
      save_steps: 1,
      // A machine that tests on all its cores looks hot.
      policy: false,
      on_event: ({ type, reason }) => globalThis.events.push(reason ? `${type}: ${reason}` : type),
      ...options,
    };
    for await (const log of trainer.train(dataset, run)) {
      globalThis.steps.push([log.step, log.loss]);
      if (isHeld()) await gone_on;
    }
    // What was done before this page was opened is in the checkpoint that it began from.
    const earlier = (trainer.plan.resumed?.log ?? []).map(({ step, loss }) => [step, loss]);
    const { "adapter_model.safetensors": adapter } = await trainer.save();
    const { peak_buffer_bytes } = await trainer.counters();
    await trainer.dispose();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", adapter));
    const hash = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    const { steps: told, events } = globalThis;
    return { hash, earlier, steps: told, events, peak_buffer_bytes };
  });
}

async function labWithRows(t, { device, isolated }) {
  const lab = await openLab(t, { args: ARGS, device, isolated });
  lab.mounts["/model/"] = join(paths.fixtures, "smollm2_f16_tied/model");
  lab.mounts["/few.jsonl"] = join(paths.fixtures, "smollm2_f16_tied/data.jsonl");
  await lab.page.evaluate(() => globalThis.runner.importFrom("rows", "/few.jsonl"));
  const opened = async () => {
    const page = await lab.browser.newPage();
    page.setDefaultTimeout(120_000);
    await page.goto(`${lab.server.origin}/runner/`);
    await page.waitForFunction(() => "runner" in globalThis);
    return page;
  };
  // Chromium may put a page into a process that it has not yet seen to be killed.
  const open = () => opened().catch((error) => (/crashed/i.test(error.message) ? opened() : Promise.reject(error)));
  return { ...lab, open };
}

/** Runs in the page: puts records of an earlier build into the database, and goes on with the run that is among them. */
async function goOnFromBefore() {
  const { tabtune, toBase64 } = globalThis.runner;
  const bytesAt = async (name) => new Uint8Array(await (await fetch(`/saved/${name}`)).arrayBuffer());
  const file = await bytesAt("records.kv");
  const view = new DataView(file.buffer);
  const opening = indexedDB.open("tabtune");
  await new Promise((resolve) => (opening.onsuccess = resolve));
  const written = opening.result.transaction("records", "readwrite");
  for (let at = 0; at < file.length; ) {
    const part = () => {
      const length = view.getUint32(at, true);
      at += 4 + length;
      return file.slice(at - length, at);
    };
    const [, table, number, name] = /^([^/]*)\/(\d+)\/(.*)$/.exec(new TextDecoder().decode(part()));
    written.objectStore("records").put(part(), [table, name, Number(number)]);
  }
  await new Promise((resolve) => (written.oncomplete = resolve));
  opening.result.close();

  const rows = await tabtune.Dataset.open("rows");
  const trainer = await tabtune.Trainer.load("/model/", {
    device: "webgpu",
    quantization: { load_in_4bit: true, bnb_4bit_use_double_quant: true },
    lora: { r: 2, lora_dropout: 0.1, target_modules: ["q_proj", "v_proj"] },
    train: {
      max_length: 40, per_device_train_batch_size: 2, max_steps: 4, learning_rate: 1e-3, lr_scheduler_type: "cosine",
      warmup_steps: 1, save_steps: 2, seed: 5,
    },
    eval_dataset: rows,
  });
  const plan = await trainer.prepare(rows, { run_name: "kept", resume_from_checkpoint: true });
  const weights = "adapter_model.safetensors";
  const adapter = await toBase64((await trainer.save())[weights]);
  const steps = [];
  for await (const log of trainer.train()) if ("loss" in log) steps.push(log.step);
  await trainer.dispose();
  return { plan, adapter, before: await toBase64(await bytesAt(`adapter/${weights}`)), steps };
}

/** A seed that a failed test can be run with again, and numbers from 0 to 1 that follow from it. */
function seeded(t) {
  const seed = Number(process.env.TABTUNE_SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`TABTUNE_SEED=${seed}`);
  let state = seed + 1;
  return { seed, random: () => (state = (state * 48271) % 2147483647) / 2147483647 };
}

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

function kill(profile, type) {
  for (const { pid } of processesOf(profile).filter((process) => process.type === type)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended by itself a moment ago.
    }
  }
}

/**
 * Runs until so many kills have ended it, from its last checkpoint each time. A GPU process may be killed too where it computes.
 * Resolves to the run that was never killed.
 */
async function surviveKills(t, { browser, open, page: first }, device, most) {
  await first.close();
  const steps = STEPS[device];
  const { seed, random } = seeded(t);
  let page = await open();
  const kinds = { close: 0, reload: 0, renderer: 0, ...(device === "webgpu" && { gpu: 0 }) };
  const begin = async (run_name) => {
    const tab = page;
    for (let tries = 1; ; tries++) {
      const ended = await tab.evaluate(trainToTheEnd, { device, run_name, steps });
      // A GPU that was killed may not be back yet when a model is loaded, and then whoever loads it is told so.
      if (ended.error?.code !== "webgpu-unavailable" || !kinds.gpu || tries === 20) return ended;
    }
  };
  const whole = valueOf(await begin("never killed"));
  const { hash } = whole;
  let finished = 0;
  let run = begin("run 0").catch(() => undefined);
  for (let kills = 0; kills < most; ) {
    const ended = await Promise.race([run, pause(random() * LONGEST_LIFE_MILLIS[device])]);
    if (ended) {
      assert.equal(valueOf(ended).hash, hash, `run ${finished} after ${kills} kills, TABTUNE_SEED=${seed}`);
      finished += 1;
    } else {
      const kind = Object.keys(kinds)[Math.floor(random() * Object.keys(kinds).length)];
      kinds[kind] += 1;
      kills += 1;
      if (kind === "gpu") {
        // The page survives and goes on by itself.
        kill(browser.profile, "gpu-process");
        continue;
      }
      if (kind === "renderer") kill(browser.profile, "renderer");
      if (kind === "reload") {
        await page.reload();
        await page.waitForFunction(() => "runner" in globalThis);
      } else {
        await page.close();
        page = await open();
      }
    }
    run = begin(`run ${finished}`).catch(() => undefined);
  }
  const last = valueOf(await run);
  assert.equal(last.hash, hash, `the last run, TABTUNE_SEED=${seed}`);
  t.diagnostic(`${JSON.stringify(kinds)}, ${finished + 1} runs of ${steps} steps came to their end`);
  await page.close();
  return whole;
}

test("a run on the processor that is killed at random moments", async (t) => {
  await surviveKills(t, await labWithRows(t, { device: "cpu" }), "cpu", KILLS);
});

/** A file of the package with a part replaced, as a mount. */
function changed(name, part, by) {
  const text = readFileSync(join(paths.package, name), "utf8");
  assert.equal(text.split(part).length, 2, `${name} has "${part}" once`);
  return { [`/tabtune/${name}`]: new TextEncoder().encode(text.replace(part, by)) };
}

/** The engine's file with so many workers, whatever the machine has. */
const withWorkers = (workers) => changed("machine.js", "workers = defaultWorkers()", `workers = ${workers}`);

test("a run on the processor ends with the same bits on any number of workers", async (t) => {
  const { page, mounts } = await labWithRows(t, { device: "cpu" });
  const steps = 24;
  const results = [];
  for (const workers of [1, 2, 3]) {
    Object.assign(mounts, withWorkers(workers));
    results.push(valueOf(await page.evaluate(trainToTheEnd, { run_name: `${workers} workers`, steps })));
  }
  const alone = await labWithRows(t, { device: "cpu", isolated: false });
  results.push(valueOf(await alone.page.evaluate(trainToTheEnd, { run_name: "without workers", steps })));
  const [whole] = results;
  for (const { hash, steps } of results) assert.deepEqual([hash, steps], [whole.hash, whole.steps]);

  await t.test("though a worker ends again and again, and a reload changes their number", async () => {
    const end = "for (let list = 0;; list++) {";
    Object.assign(mounts, changed("kernel-worker.js", end, `${end} if (worker === 1 && list === ${LISTS_OF_A_LIFE}) return self.close();`));
    const run = page.evaluate(trainToTheEnd, { run_name: "mortal", steps, holds: { recovered: 2 } }).catch(() => undefined);
    await page.waitForFunction(() => globalThis.events.filter((type) => type === "recovered").length === 2);
    await page.reload();
    await page.waitForFunction(() => "runner" in globalThis);
    await run;
    Object.assign(mounts, withWorkers(1));
    const last = valueOf(await page.evaluate(trainToTheEnd, { run_name: "mortal", steps }));
    assert.ok(last.earlier.length > 0 && last.steps.length > 0, `${last.earlier.length} steps before the reload, ${last.steps.length} after it`);
    assert.deepEqual([last.hash, [...last.earlier, ...last.steps]], [whole.hash, whole.steps]);
  });
});

test("a run on a GPU", async (t) => {
  const device = "webgpu";
  const lab = await labWithRows(t, { device });
  const { browser, mounts, open } = lab;
  let whole;

  await t.test("ends with the same bits though it is killed at random moments", async (t) => {
    whole = await surviveKills(t, lab, device, Math.ceil(KILLS / 4));
  });

  // A GPU process that is killed begins anew within a second.
  Object.assign(mounts, changed("index.js", "\t1,\n\t4,\n\t16\n", "\t1,\n\t1,\n\t1\n"));
  const page = await open();

  await t.test("goes on by itself when the GPU is lost, and stops after too many times", async () => {
    // However late the GPU is lost, it is before the last step.
    const run = page.evaluate(trainToTheEnd, { device, run_name: "lost", steps: STEPS[device], holds: { steps: STEPS[device] - 4 } });
    await page.waitForFunction(() => globalThis.steps.length > 5);
    kill(browser.profile, "gpu-process");
    await page.evaluate(() => globalThis.goOn());
    const { hash, steps, events } = valueOf(await run);
    assert.equal(hash, whole.hash);
    assert.deepEqual(steps, whole.steps, "no step is lost, none is told twice");
    assert.ok(events.includes("device-lost") && events.includes("recovered"), events.join(", "));

    const doomed = page.evaluate(trainToTheEnd, { device, run_name: "doomed", steps: 100_000 });
    await page.waitForFunction(() => globalThis.steps.length > 2);
    // Long before any engine has compiled what its first step needs.
    const killing = setInterval(() => kill(browser.profile, "gpu-process"), 300);
    const { error } = await doomed;
    clearInterval(killing);
    // Those that are next find a GPU.
    await eventually(page, async () => (await navigator.gpu.requestAdapter()) !== null);
    assert.equal(error.code, "device-lost");
    assert.match(error.message, /^the device was lost 4 times in a row \([^\n]+\); what was saved can be resumed$/);
    assert.ok((await page.evaluate(() => globalThis.runner.tabtune.Trainer.checkpoints("doomed"))).length > 0);
  });

  await t.test("goes on where the processor began it by choice only, and says so", async () => {
    const { refused, plan, steps } = await page.evaluate(beginAndMove);
    assert.equal(refused.error?.code, "bad-state");
    assert.match(refused.error.message, /cpu.*webgpu.*resume_on_other_device/);
    assert.equal(plan.resumed.step, 2);
    assert.ok(plan.notices.some(({ code }) => code === "device-replaced"), JSON.stringify(plan.notices));
    assert.deepEqual(steps, [3, 4]);
  });

  // Last, for it puts other rows under the dataset's name.
  await t.test("goes on from what an earlier build left in the database", async () => {
    mounts["/saved/"] = join(paths.root, "tests/fixtures/saved/1");
    const { plan, adapter, before, steps } = await (await open()).evaluate(goOnFromBefore);
    assert.deepEqual([plan.resumed.step, plan.resumed.log.map(({ step }) => step), plan.resumed.damaged], [2, [1, 1, 2], []]);
    assert.equal(adapter, before, "the adapter is what was saved");
    assert.deepEqual(plan.notices.map(({ code }) => code), ["tiles-replaced"], "it began on another GPU");
    assert.deepEqual(steps, [3, 4]);
  });
});

test("a run in a tab", async (t) => {
  const { page, open } = await labWithRows(t, { device: "cpu" });

  await t.test("is paused, resumed and cancelled within a step", async () => {
    const found = await page.evaluate(async () => {
      const { tabtune, outcome } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/model/", { train: { max_steps: 100_000 } });
      const controller = new AbortController();
      const events = [];
      let count = 0;
      const run = outcome(async () => {
        const options = { policy: false, signal: controller.signal, on_event: (event) => events.push(event) };
        for await (const _ of trainer.train(await tabtune.Dataset.open("rows"), options)) count += 1;
      });
      while (count < 3) await new Promise((resolve) => setTimeout(resolve, 5));
      await trainer.pause();
      // Steps that had begun before are still told.
      await new Promise((resolve) => setTimeout(resolve, 300));
      const paused = count;
      await new Promise((resolve) => setTimeout(resolve, 500));
      const still = count;
      trainer.resume();
      while (count < still + 3) await new Promise((resolve) => setTimeout(resolve, 5));
      controller.abort();
      const aborted = count;
      const { error } = await run;
      const saved = await tabtune.Trainer.checkpoints("rows");
      await trainer.dispose();
      return { paused, still, after: count - aborted, error, saved, types: events.map(({ type }) => type) };
    });
    assert.equal(found.still, found.paused);
    assert.ok(found.after <= 1, `${found.after} steps after the abort`);
    assert.equal(found.error.code, "cancelled");
    assert.ok(found.saved.length > 0, "a pause saves");
    assert.deepEqual(found.types.filter((type) => type !== "checkpoint"), ["started", "paused", "continued", "stopped"]);
  });

  await t.test("belongs to one tab; another waits for it, or watches", async () => {
    const steps = 100;
    // It is not over before the others have come, however slow that is.
    const run = page.evaluate(trainToTheEnd, { run_name: "shared", steps, holds: { steps: steps / 2 } });
    await page.waitForFunction(() => globalThis.steps?.length > 3);
    const others = ["fail", "watch", "wait"].map(async (if_running) => {
      const other = await open();
      const job = { run_name: "shared", steps, options: { if_running } };
      // One that watches has no adapter of its own to save.
      const outcome = if_running === "watch" ? other.evaluate(watchToTheEnd, job) : other.evaluate(trainToTheEnd, job);
      return outcome.finally(() => other.close());
    });
    const refused = await others[0];
    // One waits until the run's name is free, and the other hears by that of its end.
    await eventually(page, async () => (await navigator.locks.query()).pending.filter(({ name }) => name === "tabtune-run:shared").length === 2);
    await page.evaluate(() => globalThis.goOn());
    const owner = valueOf(await run);
    const [, watched, waited] = await Promise.all(others);
    assert.equal(refused.error.code, "bad-state");
    assert.match(refused.error.message, /another tab/);
    const seen = valueOf(watched);
    assert.ok(seen.length > 0);
    assert.deepEqual(seen, owner.steps.slice(-seen.length), "what is watched is what happens");
    assert.equal(valueOf(waited).hash, owner.hash, "the one that waited finds the run at its end");
    assert.deepEqual(valueOf(waited).steps, []);
  });
});

/** Runs in the page: begins a run on the processor, and goes on with it on WebGPU, where that has to be chosen. */
async function beginAndMove() {
  const { tabtune, outcome } = globalThis.runner;
  const dataset = await tabtune.Dataset.open("rows");
  const load = (device) => tabtune.Trainer.load("/model/", { device, train: { max_steps: 4, save_steps: 1 } });
  const first = await load("cpu");
  for await (const { step } of first.train(dataset, { run_name: "moved" })) if (step === 2) break;
  await first.dispose();
  const trainer = await load("webgpu");
  const options = { run_name: "moved", resume_from_checkpoint: true };
  const refused = await outcome(() => trainer.prepare(dataset, options));
  const plan = await trainer.prepare(dataset, { ...options, resume_on_other_device: true });
  const steps = (await trainer.train()).map(({ step }) => step);
  await trainer.dispose();
  return { refused, plan, steps };
}

/** Runs in the page: watches the run that another tab has. */
async function watchToTheEnd({ run_name, options }) {
  const { tabtune, outcome } = globalThis.runner;
  return outcome(async () => {
    const trainer = await tabtune.Trainer.load("/model/");
    const steps = [];
    for await (const log of trainer.train(await tabtune.Dataset.open("rows"), { run_name, ...options })) {
      steps.push([log.step, log.loss]);
    }
    await trainer.dispose();
    return steps;
  });
}

/** Steps of the soak and the device that makes them; thousands by hand, and on WebGPU, which may be lost. */
const SOAK_STEPS = Number(process.env.TABTUNE_SOAK_STEPS ?? 48);
const SOAK_DEVICE = process.env.TABTUNE_SOAK_DEVICE ?? "cpu";
/** Something happens to a soak so many times at most, however long it is. */
const MISHAPS = 100;

test("a soak: pauses, hidden tabs, reloads and lost devices leave no trace", async (t) => {
  const device = SOAK_DEVICE;
  const lab = await labWithRows(t, { device });
  lab.mounts["/model/"] = paths.model;
  await lab.page.evaluate(() => globalThis.runner.importFrom("rows", "/rows.jsonl"));
  await lab.page.close();
  const { random } = seeded(t);
  const page = await lab.open();
  const steps = SOAK_STEPS;
  const quantization = { load_in_4bit: true };
  const whole = valueOf(await page.evaluate(trainToTheEnd, { device, run_name: "calm", steps, quantization }));

  const happened = { pause: 0, hide: 0, reload: 0, ...(device === "webgpu" && { gpu: 0 }) };
  const seen = new Map();
  const memory = [memoryOf(lab.browser.profile, "renderer")];
  const gap = Math.max(3, steps / MISHAPS);
  const job = { device, run_name: "soak", steps, quantization, options: { save_steps: Math.ceil(gap / 3) } };
  let run = page.evaluate(trainToTheEnd, job);
  let kinds = [];
  for (let ended; !ended; ) {
    // A run that no step comes through of would never end.
    const until = seen.size + gap * (0.5 + random());
    while (!(ended = await Promise.race([run, pause(200)])) && seen.size < until) {
      for (const [step, loss] of await page.evaluate(() => globalThis.steps)) seen.set(step, loss);
    }
    if (ended) {
      run = ended;
      break;
    }
    memory.push(memoryOf(lab.browser.profile, "renderer"));
    // Each kind once before any comes again, in an order of its own.
    if (kinds.length === 0) kinds = Object.keys(happened);
    const [kind] = kinds.splice(Math.floor(random() * kinds.length), 1);
    happened[kind] += 1;
    if (kind === "pause") {
      const refused = await page.evaluate(async () => {
        const { error } = await globalThis.runner.outcome(() => globalThis.trainer.pause());
        await new Promise((resolve) => setTimeout(resolve, 200));
        globalThis.trainer.resume();
        return error && { ...error, step: globalThis.steps.at(-1)[0] };
      });
      // A run that came to its end since it was last looked at cannot be paused.
      if (refused) {
        happened.pause -= 1;
        assert.deepEqual([refused.code, refused.step], ["bad-state", steps], refused.message);
      }
    } else if (kind === "hide") {
      // Headless tabs are never hidden, so the page is told that it is.
      await page.evaluate(() => {
        for (const hidden of [true, false]) {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }
      });
    } else if (kind === "gpu") {
      kill(lab.browser.profile, "gpu-process");
    } else {
      run.catch(() => {});
      await page.reload();
      await page.waitForFunction(() => "runner" in globalThis);
      run = page.evaluate(trainToTheEnd, job);
    }
  }
  const last = valueOf(run);
  memory.push(memoryOf(lab.browser.profile, "renderer"));
  for (const [step, loss] of [...last.earlier, ...last.steps]) seen.set(step, loss);
  const half = memory.length >> 1;
  const most = (values) => Math.max(...values) / 1e6;
  t.diagnostic(`${steps} steps, ${JSON.stringify(happened)}, tab at most ${most(memory.slice(0, half)).toFixed(0)} MB in the first half, ${most(memory.slice(half)).toFixed(0)} in the second`);
  assert.equal(last.hash, whole.hash);
  assert.deepEqual([...seen].sort(([a], [b]) => a - b), whole.steps, "no step is lost, and each has its loss");
  assert.equal(last.peak_buffer_bytes, whole.peak_buffer_bytes);
  assert.ok(most(memory.slice(half)) < 1.25 * most(memory.slice(0, half)) + 30, "the tab does not grow");
});
