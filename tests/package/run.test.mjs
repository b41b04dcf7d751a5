// The loop of a run, with a host that is played.
import assert from "node:assert/strict";
import { test } from "node:test";
import { TabtuneError } from "../../www/package/build/errors.js";
import { policyOf } from "../../www/package/build/policy.js";
import { Run, takenUp, toldOf } from "../../www/package/build/run.js";

/** What this page's browser tells. */
const navigator = {};
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });

const log = (step, more = {}) => ({ step, total_steps: 4, loss: 1 / step, step_millis: 20, eval_due: false, ...more });

/** A run of four steps; `fail` may throw in place of a step. */
function played({ policy, fail = () => {}, can_restart = true, log_of = log, evaluate, signal } = {}) {
  const told = [];
  const progress = toldOf(takenUp({}));
  let step = 0;
  const host = {
    async step(pipelined) {
      host.pipelined = pipelined;
      fail(step + 1);
      return step === 4 ? undefined : log_of(++step);
    },
    evaluate: evaluate ?? (async () => ({ step, eval_loss: 1 })),
    save: async () => ({ logs: [], checkpoint: { step, bytes: 1, millis: 1, cleared: false } }),
    async restart() {
      // The last checkpoint was after step 1.
      step = 1;
      return { step, owes_evaluation: false };
    },
  };
  const details = [];
  const on_event = ({ type, reason, detail }) => {
    told.push(reason ? `${type} ${reason}` : type);
    details.push(detail);
  };
  const settings = { name: undefined, policy, on_event, signal, can_restart };
  const again = () => new Run(host, { ...settings, signal: undefined }, progress);
  return { run: new Run(host, settings, progress), told, details, host, again };
}

async function all(lines) {
  const found = [];
  for await (const line of lines) found.push(line);
  return found;
}

test("a duty cycle follows each step with a break", async () => {
  const began = performance.now();
  const { run, host } = played({ policy: policyOf({ duty_cycle: 0.25 }) });
  await all(run.lines());
  assert.equal(host.pipelined, false, "a GPU that has the next step does not rest");
  const millis = performance.now() - began;
  // Four steps that say they took 20 ms want four breaks of 60 ms.
  assert.ok(millis >= 235, `${millis} ms`);
});

test("a run that is paused while it rests does not step when the rest is over", async () => {
  let level = 0.1;
  const battery = Object.defineProperty({ charging: false }, "level", { get: () => level });
  navigator.getBattery = async () => battery;
  const { run, told } = played({ policy: policyOf({ rest_seconds: 0.05 }) });
  const lines = run.lines();
  const first = lines.next();
  const until = async (event) => {
    while (!told.includes(event)) await new Promise((resolve) => setTimeout(resolve, 1));
  };
  await until("resting battery");
  await run.pause();
  level = 1;
  const early = await Promise.race([first, new Promise((resolve) => setTimeout(resolve, 200, "none"))]);
  assert.equal(early, "none", "no step while it is paused");
  run.resume();
  assert.equal((await first).value.step, 1);
  delete navigator.getBattery;
  await lines.return();
  assert.deepEqual(told.filter((event) => event !== "checkpoint"), [
    "policy",
    "started",
    "resting battery",
    "paused asked",
    "continued",
    "rested",
    "stopped left",
  ]);
});

test("steps that are done again after a lost device are told once", async () => {
  let losses = 1;
  const fail = (step) => {
    if (step === 4 && losses-- > 0) throw new TabtuneError({ code: "device-lost", message: "gone", context: [] });
  };
  const { run, told } = played({ fail });
  assert.deepEqual((await all(run.lines())).map(({ step }) => step), [1, 2, 3, 4]);
  assert.deepEqual(told, ["started", "device-lost", "recovered", "finished"]);
});

test("a step that was under way at an abort is told when the run goes on", async () => {
  const controller = new AbortController();
  const { run, told, host, again } = played({ signal: controller.signal });
  host.save = async () => ({ logs: [await host.step()], checkpoint: undefined });
  const seen = [];
  await assert.rejects(async () => {
    for await (const { step } of run.lines()) {
      seen.push(step);
      if (step === 2) controller.abort();
    }
  }, { code: "cancelled" });
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual((await all(again().lines())).map(({ step }) => step), [3, 4]);
  assert.deepEqual(told, ["started", "stopped cancelled", "resumed", "finished"]);
});

test("a step that ends while a checkpoint is saved is told before the one after it", async () => {
  const { run, host } = played();
  const { step } = host;
  // The engine answers one call after the other, and a save comes with the step that was on its way.
  let saved = Promise.resolve();
  host.step = async () => {
    await saved;
    return step();
  };
  host.save = async () => {
    const logs = [await step()];
    await (saved = new Promise((resolve) => setTimeout(resolve, 20)));
    return { logs, checkpoint: null };
  };
  const seen = [];
  for await (const line of run.lines()) {
    seen.push(line.step);
    if (line.step === 1) {
      void run.pause();
      run.resume();
    }
  }
  assert.deepEqual(seen, [1, 2, 3, 4]);
});

test("a device that is lost in an evaluation comes back, and what was told is not told again", async () => {
  let evaluations = 0;
  const { run, told, host } = played({ log_of: (step) => log(step, { eval_due: step === 3 || step === 1 }) });
  host.evaluate = async () => {
    evaluations += 1;
    if (evaluations === 2) throw new TabtuneError({ code: "device-lost", message: "gone", context: [] });
    return { step: evaluations === 1 ? 1 : evaluations === 3 ? 1 : 3, eval_loss: 1 };
  };
  host.restart = ((restart) => async () => ({ ...(await restart()), owes_evaluation: true }))(host.restart);
  const found = (await all(run.lines())).map((line) => ("eval_loss" in line ? `eval ${line.step}` : line.step));
  assert.deepEqual(found, [1, "eval 1", 2, 3, "eval 3", 4]);
  assert.equal(evaluations, 4);
  assert.deepEqual(told, ["started", "device-lost", "recovered", "finished"]);
});

test("an evaluation that a stop came before is made when the run goes on", async () => {
  const controller = new AbortController();
  const { run, again } = played({ signal: controller.signal, log_of: (step) => log(step, { eval_due: step === 2 }) });
  await assert.rejects(async () => {
    for await (const { step } of run.lines()) if (step === 2) controller.abort();
  }, { code: "cancelled" });
  assert.deepEqual((await all(again().lines())).map(({ step, eval_loss }) => (eval_loss ? "eval" : step)), ["eval", 3, 4]);
  assert.deepEqual(takenUp({ resumed: { step: 2, log: [log(2, { eval_due: true })] } }), { step: 2, owes_evaluation: true });
});

test("a device of the page's own is not replaced", async () => {
  const fail = () => {
    throw new TabtuneError({ code: "device-lost", message: "gone", context: [] });
  };
  const { run, told } = played({ fail, can_restart: false });
  await assert.rejects(all(run.lines()), { code: "device-lost" });
  assert.deepEqual(told, ["started", "stopped device-lost"]);
});

test("checkpoints, skipped steps and a way back are told", async () => {
  const special = {
    1: { checkpoint: { step: 1, bytes: 9, millis: 1, cleared: true } },
    2: { skipped: true },
    3: { checkpoint: { step: 3, bytes: 0, millis: 1, cleared: false, error: { code: "quota-exceeded", message: "full" } } },
    4: { rewound_to: 1 },
  };
  const { run, told } = played({ log_of: (step) => log(step, special[step]) });
  await all(run.lines());
  assert.deepEqual(told, [
    "started",
    "storage-cleared",
    "checkpoint",
    "skipped not-finite",
    "checkpoint-failed quota-exceeded",
    "rewound not-finite",
    "finished",
  ]);
});

test("why a step was not applied is told, of MeZO without a gradient", async () => {
  const steps = { 2: { loss: NaN, grad_norm: Infinity }, 3: { loss: NaN, grad_norm: NaN, projected_grad: [1.5, NaN] } };
  const { run, details } = played({ log_of: (step) => log(step, steps[step] && { ...steps[step], skipped: true }) });
  await all(run.lines());
  assert.deepEqual(details.filter(Boolean), [
    "step 2 was not applied: the loss is NaN, the gradient's norm Infinity",
    "step 3 was not applied: the loss is NaN, its slope 1.5,NaN",
  ]);
});

test("an evaluation comes where it is due, and leaving the loop ends the run", async () => {
  const { run, told } = played({ log_of: (step) => log(step, { eval_due: step === 2 }) });
  const found = [];
  for await (const line of run.lines()) {
    found.push("eval_loss" in line ? "eval" : line.step);
    if (line.step === 3) break;
  }
  assert.deepEqual(found, [1, 2, "eval", 3]);
  assert.deepEqual(told, ["started", "stopped left"]);
});
