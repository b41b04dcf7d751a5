// What goes along with a run: prompts that are answered between steps, an end before the last step, the best model.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { PATIENCE } from "../../www/package/build/pulse.js";
import { RESTART_SECONDS } from "../../www/package/build/run.js";
import { Trainer } from "../../www/package/build/trainer.js";
import { answers, playPage, workers } from "./played-worker.mjs";

playPage();
Object.assign(PATIENCE, { ping: 0.02, silence: 0.1, grace: 0.1, limit: 0.6 });
RESTART_SECONDS.splice(0, 3, 0.01, 0.01, 0.01);

const rows = { name: "rows" };
const STEPS = 6;

/** Held-out losses by step, for a run that evaluates every second one. */
let losses;
/** What the engines have stored, and the last one. */
let stored, engine, kept, calls;

const failing = (code, message) => Object.assign(new Error(message), { code });

beforeEach(() => {
  workers.length = 0;
  losses = {};
  stored = { step: 0, log: [] };
  kept = {};
  calls = [];
  const list = () => ({ active: engine.active, adapters: [], has_run: engine.step !== undefined });
  for (const call of Object.keys(answers)) delete answers[call];
  Object.assign(answers, {
    start: () => ({}),
    load_model: () => {
      engine = { active: null, log: [] };
      return {};
    },
    adapters: list,
    use_adapter: ({ name = null }) => {
      engine.active = name;
      return list();
    },
    prepare: (args) => {
      engine.asked = args;
      engine.step = args.resume_from_checkpoint ? stored.step : 0;
      engine.log = args.resume_from_checkpoint ? [...stored.log] : [];
      engine.active = "default";
      return { total_steps: STEPS, ...(engine.step > 0 && { resumed: { step: engine.step, log: engine.log, damaged: [] } }) };
    },
    train_step: ({ pipelined }) => {
      if (engine.step === STEPS) return undefined;
      calls.push(`step ${engine.step + 1}${pipelined ? "" : ", alone"}`);
      const step = ++engine.step;
      const log = { step, total_steps: STEPS, loss: 1, step_millis: 1, eval_due: losses[step] !== undefined };
      engine.log.push(log);
      if (step !== 3) return log;
      Object.assign(stored, { step, log: [...engine.log] });
      return { ...log, checkpoint: { step, bytes: 1, millis: 1, cleared: false } };
    },
    evaluate: () => {
      const log = { step: engine.step, eval_loss: losses[engine.step], tokens: 1, rows: 1 };
      engine.log.push(log);
      return log;
    },
    save_checkpoint: () => {
      Object.assign(stored, { step: engine.step, log: [...engine.log] });
      return { logs: [], checkpoint: null };
    },
    load_best: () => {
      calls.push("best");
      const best = engine.log.filter((line) => "eval_loss" in line).sort((one, other) => one.eval_loss - other.eval_loss)[0];
      return { step: best.step, metric: best.eval_loss };
    },
    generate: ({ prompt, options }) => {
      calls.push(`ask ${prompt}`);
      const { adapter, temperature, max_new_tokens } = options;
      return { text: `${adapter ? engine.step : "base"}: ${prompt} ${temperature} ${max_new_tokens}` };
    },
    keep_samples: ({ run_name, samples }) => {
      kept[run_name] = structuredClone(samples);
    },
    samples: ({ run_name }) => kept[run_name] ?? [],
    delete_run: ({ run_name }) => {
      delete kept[run_name];
    },
    close: () => ({}),
  });
});

const load = (options) => Trainer.load("http://localhost/tiny/", options);

/** Trains, and gives the events beside steps and checkpoints. */
async function trained(trainer, options) {
  const told = [];
  const on_event = (event) => told.push(event);
  const lines = await trainer.train(rows, { ...options, on_event });
  const events = told.filter(({ type }) => !/policy|^checkpoint|started|resumed/.test(type));
  return { lines, events, types: events.map(({ type, reason }) => (reason ? `${type} ${reason}` : type)) };
}

test("prompts are answered by the base, every so many steps and at the end, and kept with the run", async () => {
  const trainer = await load();
  const { events, types } = await trained(trainer, { sample_prompts: ["a", "b"], sample_steps: 4, sample_max_new_tokens: 5 });
  assert.deepEqual(types, ["sampled", "sampled", "sampled", "finished"]);
  assert.deepEqual(events[0].sampled, { step: 0, samples: [{ prompt: "a", text: "base: a 0 5" }, { prompt: "b", text: "base: b 0 5" }] });
  assert.deepEqual(calls, ["ask a", "ask b", "step 1", "step 2", "step 3", "step 4, alone", "ask a", "ask b", "step 5", "step 6", "ask a", "ask b"]);
  const grid = await trainer.samples();
  assert.deepEqual([grid.prompts, grid.steps], [["a", "b"], [0, 4, 6]]);
  assert.deepEqual(grid.texts[1], ["base: b 0 5", "4: b 0 5", "6: b 0 5"]);
  assert.deepEqual(engine.asked.train, {}, "the engine is not told of it");
  assert.equal(trainer.outcome.ended, "finished");
  await trainer.dispose();

  const other = await load();
  assert.deepEqual(await other.samples("rows"), grid, "they outlive their trainer");
  assert.deepEqual(await other.samples(), { prompts: [], steps: [], texts: [] });
  await Trainer.forget("rows");
  assert.deepEqual((await other.samples("rows")).steps, [], "they go with the run");
  await other.dispose();
});

test("below 1 a number of steps is a share of the run, rounded up, and without one only both ends are sampled", async () => {
  for (const [sample_steps, steps] of [[0.4, [0, 3, 6]], [undefined, [0, 6]], [6, [0, 6]], [1, [0, 1, 2, 3, 4, 5, 6]]]) {
    const trainer = await load();
    await trained(trainer, { run_name: null, sample_prompts: ["a"], ...(sample_steps && { sample_steps }) });
    assert.deepEqual((await trainer.samples()).steps, steps);
    assert.deepEqual(kept, {}, "a run without a name keeps nothing");
    await trainer.dispose();
  }
});

test("what was sampled before a restart is not sampled again, and nothing is by weights that are behind", async () => {
  const trainer = await load();
  const steps = [];
  const on_event = ({ type, sampled }) => type === "sampled" && steps.push([sampled.step, sampled.samples[0].text.split(":")[0]]);
  for await (const { step } of trainer.train(rows, { sample_prompts: ["a"], sample_steps: 2, on_event })) {
    // The last checkpoint is of step 3.
    if (step === 5 && workers.filter(({ calls }) => calls.includes("load_model")).length === 1) {
      workers.find(({ calls }) => calls.includes("load_model")).close();
      await sleep(5);
    }
  }
  assert.deepEqual(steps, [[0, "base"], [2, "2"], [4, "4"], [6, "6"]]);
  await trainer.dispose();
});

test("a device that is lost while prompts are answered comes back, and they are answered then", async () => {
  const { generate } = answers;
  let losses = 1;
  answers.generate = (args) => {
    if (engine.step === 4 && losses-- > 0) throw failing("device-lost", "gone");
    return generate(args);
  };
  const trainer = await load();
  const { lines, types } = await trained(trainer, { sample_prompts: ["a"], sample_steps: 4 });
  assert.deepEqual(lines.map(({ step }) => step), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(types, ["sampled", "device-lost", "recovered", "sampled", "sampled", "finished"]);
  assert.deepEqual((await trainer.samples()).texts, [["base: a 0 64", "4: a 0 64", "6: a 0 64"]]);
  await trainer.dispose();
});

test("a resumed run goes on with the samples up to its checkpoint", async () => {
  const trainer = await load();
  for await (const { step } of trainer.train(rows, { sample_prompts: ["a"], sample_steps: 2 })) if (step === 5) break;
  await trainer.dispose();
  stored.step = 3;
  assert.deepEqual(kept.rows.map(({ step }) => step), [0, 2, 4]);
  calls.length = 0;
  const again = await load();
  await trained(again, { sample_prompts: ["a", "b"], sample_steps: 2, resume_from_checkpoint: true });
  assert.deepEqual(calls, ["step 4, alone", "ask a", "ask b", "step 5", "step 6, alone", "ask a", "ask b"]);
  const { prompts, steps, texts } = await again.samples();
  assert.deepEqual([prompts, steps, texts[1]], [["a", "b"], [0, 2, 4, 6], [null, null, "4: b 0 64", "6: b 0 64"]]);
  await again.dispose();
});

test("a run does not end because a prompt cannot be answered or its answers cannot be kept", async () => {
  answers.keep_samples = () => {
    throw failing("quota-exceeded", "full");
  };
  const trainer = await load();
  const { lines, types } = await trained(trainer, { sample_prompts: ["a"] });
  assert.deepEqual([lines.length, types], [STEPS, ["sampled", "notice samples-not-kept", "sampled", "notice samples-not-kept", "finished"]]);
  answers.generate = () => {
    throw failing("bad-data", "the prompt has 0 tokens");
  };
  const { events, types: others } = await trained(trainer, { sample_prompts: [""], sample_steps: 1 });
  assert.deepEqual(others, ["notice no-samples", "finished"]);
  assert.match(events[0].detail, /no longer answered: the prompt has 0 tokens/);
  await trainer.dispose();
});

test("answers of an adapter that is not the run's are not taken for its own", async () => {
  const trainer = await load();
  const told = [];
  for await (const { step } of trainer.train(rows, { sample_prompts: ["a"], on_event: ({ detail }) => told.push(detail) })) {
    if (step === 2) await trainer.adapters.off();
  }
  assert.ok(told.some((detail) => /the run's own adapter is not the active one/.test(detail)));
  assert.deepEqual((await trainer.samples()).steps, [0]);
  await trainer.dispose();
});

test("a run ends where its evaluations get no better, and goes back to the best", async () => {
  losses = { 1: 3, 2: 2, 3: 2.5, 4: 2.2, 5: 1, 6: 1 };
  const trainer = await load();
  const options = { eval_steps: 1, early_stopping_patience: 2, load_best_model_at_end: true };
  const { lines, events, types } = await trained(trainer, options);
  assert.deepEqual(lines.map((line) => ("eval_loss" in line ? line.eval_loss : `step ${line.step}`)), ["step 1", 3, "step 2", 2, "step 3", 2.5, "step 4", 2.2]);
  assert.deepEqual(types, ["early-stopped patience", "best-loaded", "finished"]);
  const best = { step: 2, metric: "eval_loss", value: 2 };
  assert.deepEqual(events.map(({ best }) => best), [best, best, undefined]);
  const reason = "eval_loss did not get better in 2 evaluations, since 2 after step 2";
  assert.equal(events[0].detail, reason);
  assert.deepEqual(trainer.outcome, { ended: "early-stopped", reason, step: 4, best, is_best_loaded: true });
  assert.deepEqual(engine.asked.train, { eval_steps: 1, load_best_model_at_end: true });
  assert.equal(stored.step, 4, "what it ended at is saved");

  // An engine that takes over has the best model too.
  workers.find(({ calls, is_over }) => calls.includes("load_model") && !is_over).close();
  await sleep(5);
  calls.length = 0;
  await trainer.generate("a");
  assert.deepEqual(calls, ["best", "ask a"]);
  await trainer.dispose();

  // Resumed with the same options it is at its end, and with more patience it goes on.
  const again = await load();
  const resumed = { ...options, resume_from_checkpoint: true };
  assert.deepEqual((await trained(again, resumed)).lines, []);
  assert.equal(again.outcome.ended, "early-stopped");
  const { lines: more } = await trained(again, { ...resumed, early_stopping_patience: 3 });
  assert.deepEqual(more.filter((line) => "loss" in line).map(({ step }) => step), [5, 6]);
  assert.deepEqual([again.outcome.ended, again.outcome.best.step], ["finished", 5]);
  await again.dispose();
});

test("a run that is lost on its way to its end makes its steps again, and ends there all the same", async () => {
  losses = { 1: 1, 2: 2, 4: 2 };
  const { load_best } = answers;
  let losses_left = 1;
  answers.load_best = () => {
    if (losses_left-- > 0) throw failing("device-lost", "gone");
    return load_best();
  };
  const { save_checkpoint } = answers;
  answers.save_checkpoint = () => {
    throw failing("device-lost", "gone");
  };
  const trainer = await load();
  const { lines, types } = await trained(trainer, { eval_steps: 1, early_stopping_patience: 2, load_best_model_at_end: true });
  assert.deepEqual(lines.map(({ step }) => step), [1, 1, 2, 2, 3, 4, 4]);
  assert.deepEqual(types, ["early-stopped patience", "device-lost", "recovered", "early-stopped patience", "best-loaded", "finished"]);
  assert.equal(trainer.outcome.step, 4);
  answers.save_checkpoint = save_checkpoint;
  await trainer.dispose();
});

test("what came after the step that a run went back to is undone", async () => {
  losses = { 1: 1, 2: 2, 3: 1.5, 4: 1.4, 5: 1.3, 6: 1.2 };
  const { train_step } = answers;
  let rewinds = 1;
  answers.train_step = (args) => {
    if (engine.step !== 3 || rewinds-- <= 0) return train_step(args);
    engine.step = 1;
    losses[2] = 0.5;
    return { step: 4, total_steps: STEPS, loss: NaN, step_millis: 1, eval_due: false, rewound_to: 1 };
  };
  const trainer = await load();
  const { types } = await trained(trainer, { eval_steps: 1, early_stopping_patience: 3, sample_prompts: ["a"], sample_steps: 3 });
  // 2 and 1.5 no longer count; 0.5 is the best.
  assert.deepEqual(types.filter((type) => type !== "sampled"), ["rewound not-finite", "early-stopped patience", "finished"]);
  assert.deepEqual([trainer.outcome.step, trainer.outcome.best.step], [5, 2]);
  assert.deepEqual((await trainer.samples()).steps, [0, 3, 5]);
  await trainer.dispose();
});

test("the metric is taken by its name, with eval_ before it or without, and one that nobody tells is named", async () => {
  losses = { 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1 };
  const accuracy = { 1: 0.5, 2: 0.6, 3: 0.4, 4: 0.7, 5: 0.7, 6: 0.7 };
  const { evaluate } = answers;
  answers.evaluate = () => ({ ...evaluate(), eval_accuracy: accuracy[engine.step] });
  for (const metric_for_best_model of ["accuracy", "eval_accuracy"]) {
    const trainer = await load({ train: { metric_for_best_model } });
    await trained(trainer, { eval_steps: 1, early_stopping_patience: 1 });
    assert.deepEqual([trainer.outcome.step, trainer.outcome.best], [3, { step: 2, metric: "eval_accuracy", value: 0.6 }]);
    await trainer.dispose();
  }
  const trainer = await load();
  const fewer = { eval_steps: 1, early_stopping_patience: 1, metric_for_best_model: "accuracy", greater_is_better: false };
  await trained(trainer, fewer);
  assert.equal(trainer.outcome.step, 2);
  await assert.rejects(trained(trainer, { ...fewer, metric_for_best_model: "bleu" }), {
    code: "bad-option",
    message: 'metric_for_best_model is "eval_bleu", but an evaluation tells eval_loss, eval_accuracy',
  });
  await trainer.dispose();
});

test("a best model is not loaded where nothing was evaluated", async () => {
  const trainer = await load();
  const { types } = await trained(trainer, { eval_steps: 100, load_best_model_at_end: true });
  assert.deepEqual(types, ["notice no-best", "finished"]);
  assert.deepEqual([trainer.outcome.is_best_loaded, trainer.outcome.best], [false, undefined]);
  await trainer.dispose();
});

test("options that cannot be followed are refused before anything is prepared", async () => {
  const trainer = await load();
  for (const [options, message] of [
    [{ sample_prompts: [] }, /sample_prompts must be a list/],
    [{ sample_prompts: "a" }, /sample_prompts must be a list/],
    [{ sample_steps: 3 }, /sample_steps needs sample_prompts/],
    [{ sample_prompts: ["a"], sample_steps: 2.5 }, /sample_steps is 2.5, but must be a number of steps, or a share/],
    [{ sample_prompts: ["a"], sample_steps: -1 }, /sample_steps is -1/],
    [{ sample_prompts: ["a"], sample_max_new_tokens: 0.5 }, /sample_max_new_tokens is 0.5/],
    [{ sample_prompt: ["a"] }, /sample_prompt is not an option of prepare; there are sample_prompts/],
    [{ early_stopping_patience: 2 }, /early_stopping_patience needs eval_steps/],
    [{ early_stopping_patience: 1.5, eval_steps: 1 }, /early_stopping_patience is 1.5/],
    [{ early_stopping_threshold: 0.1, eval_steps: 1 }, /needs early_stopping_patience/],
    [{ early_stopping_patience: 1, early_stopping_threshold: -1, eval_steps: 1 }, /early_stopping_threshold is -1/],
    [{ load_best_model_at_end: true }, /load_best_model_at_end needs eval_steps/],
    [{ load_best_model_at_end: true, eval_steps: 1, run_name: null }, /load_best_model_at_end needs a run_name/],
    [{ metric_for_best_model: 3 }, /metric_for_best_model must be the name/],
  ]) {
    await assert.rejects(trainer.prepare(rows, options), (error) => error.code === "bad-option" && message.test(error.message), JSON.stringify(options));
  }
  assert.equal(engine.asked, undefined);
  assert.deepEqual((await navigator.locks.query()).held.filter(({ name }) => name.startsWith("tabtune-run")), []);
  await trainer.prepare(rows, { load_best_model_at_end: false, sample_prompts: null, early_stopping_patience: null });
  await assert.rejects(async () => await trainer.train(undefined, { sample_prompts: ["a"] }), { code: "bad-option", message: /sample_prompts: a run that was prepared/ });
  await trainer.dispose();
});
