// Small random models against PyTorch, PEFT and bitsandbytes, in whichever browser has the page.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../../tools/lib/paths.mjs";
import { valueOf } from "./support.mjs";

const LOSS_TOLERANCE = 1e-4;
const GRAD_NORM_TOLERANCE = 1e-3;

function assertClose(actual, expected, tolerance, what) {
  const off = Math.abs(actual - expected) / Math.abs(expected);
  assert.ok(off <= tolerance, `${what}: ${actual} is ${off.toExponential(2)} off ${expected}, more than ${tolerance}`);
  return off;
}

/** One model of each family: natively all are tried. */
const FAMILIES = [
  "gemma3text_bf16_tied",
  "granite_bf16_tied",
  "llama_f16_biases",
  "phi3_bf16_longrope",
  "qwen2_bf16_tied",
  "qwen3_bf16_tied",
  "smollm3_bf16_tied",
];

/** Those of the kinds of quantised files that most people have. */
const BASES = ["bitsandbytes_nf4_double", "gguf_q4_k_m_llama", "gguf_q8_0_qwen2"];

/** What is told of preferences beside the loss: off by a share, and below 1 by so much. */
const METRIC_TOLERANCE = 1e-4;

const METRICS = [
  "rewards/chosen",
  "rewards/rejected",
  "rewards/accuracies",
  "rewards/margins",
  "logps/chosen",
  "logps/rejected",
  "kl",
  "nll_loss",
  "log_odds_ratio",
  "log_odds_chosen",
];

/** Trains each of the models, and those of the named families, through `run`, which runs a job in a page, as a test of its own. */
export async function checkParity(t, run, families = FAMILIES) {
  const models = readdirSync(paths.fixtures, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.ok(models.length >= 5, `only ${models.length} fixtures`);
  for (const { name } of models) await t.test(name, (t) => checkModel(t, run, paths.fixtures, `/fixtures/${name}`));
  for (const name of families) await t.test(name, (t) => checkModel(t, run, paths.families, `/families/${name}`));
}

/** The same of models whose weights are quantised in their files. */
export async function checkBases(t, run, names = BASES) {
  for (const name of names) await t.test(name, (t) => checkModel(t, run, paths.bases, `/bases/${name}`));
}

/** `path` is that of the model's folder on the page; its last part is its name in `folder`. */
async function checkModel(t, run, folder, path) {
  const at = (file) => join(folder, path.split("/").at(-1), file);
  const read = (file) => JSON.parse(readFileSync(at(file), "utf8"));
  const picked = existsSync(at("model.gguf"));
  const expected = read("expected.json");
  const rows = `${path}/data.jsonl`;
  const { plan, steps, evals } = valueOf(
    await run({
      model: picked ? `${path}/model.gguf` : `${path}/model/`,
      picked,
      rows,
      heldout: rows,
      config: read("config.json"),
      init_adapter: `${path}/adapter/`,
      evaluate: true,
    }),
  );
  for (const count of ["rows", "kept", "truncated", "tokens", "labelled_tokens"]) {
    assert.equal(plan.dataset[count], expected[count], count);
  }
  assert.equal(steps.length, expected.steps.length);
  let worst_loss = 0;
  let worst_norm = 0;
  expected.steps.forEach(({ step, loss, grad_norm, learning_rate, num_tokens }, place) => {
    const log = steps[place];
    worst_loss = Math.max(worst_loss, assertClose(log.loss, loss, LOSS_TOLERANCE, `loss of step ${step}`));
    worst_norm = Math.max(worst_norm, assertClose(log.grad_norm, grad_norm, GRAD_NORM_TOLERANCE, `grad_norm of step ${step}`));
    if (learning_rate > 0) assertClose(log.learning_rate, learning_rate, 1e-6, `learning_rate of step ${step}`);
    else assert.ok(Math.abs(log.learning_rate) < 1e-12, `learning_rate of step ${step}`);
    assert.equal(log.num_tokens, num_tokens, `num_tokens of step ${step}`);
  });
  assertClose(evals[0].eval_loss, expected.eval_loss_before, LOSS_TOLERANCE, "eval_loss before");
  assertClose(evals.at(-1).eval_loss, expected.eval_loss_after, LOSS_TOLERANCE, "eval_loss after");
  t.diagnostic(`worst loss ${worst_loss.toExponential(1)}, worst grad_norm ${worst_norm.toExponential(1)} off`);
}

/** The same of models that learn from preferences, against TRL's trainers: those of the folders that are named. */
export async function checkPreferences(t, run, names) {
  for (const name of names) await t.test(name, (t) => checkPreference(t, run, name));
}

async function checkPreference(t, run, name) {
  const read = (file) => JSON.parse(readFileSync(join(paths.preferences, name, file), "utf8"));
  const expected = read("expected.json");
  const { model, ...config } = read("config.json");
  const [folder, of_folder] = model.split("/");
  const is_full = config.train.finetuning_type === "full";
  const { plan, steps } = valueOf(
    await run({
      model: `/${folder === "models" ? "fixtures" : folder}/${of_folder}/model/`,
      rows: `/preferences/${name}/data.jsonl`,
      config,
      saves: !is_full,
      ...(!is_full && { init_adapter: `/preferences/${name}/adapter/` }),
    }),
  );
  assert.equal(plan.dataset.rows, expected.rows);
  assert.equal(steps.length, expected.steps.length);
  let worst = 0;
  expected.steps.forEach((wanted, place) => {
    const log = steps[place];
    const near = (what) => {
      const off = Math.abs(log[what] - wanted[what]) / Math.max(1, Math.abs(wanted[what]));
      assert.ok(off <= METRIC_TOLERANCE, `${what} of step ${wanted.step}: ${log[what]}, not ${wanted[what]}`);
      worst = Math.max(worst, off);
    };
    near("loss");
    assertClose(log.grad_norm, wanted.grad_norm, GRAD_NORM_TOLERANCE, `grad_norm of step ${wanted.step}`);
    assert.equal(log.num_tokens, wanted.num_tokens, `num_tokens of step ${wanted.step}`);
    for (const metric of METRICS) {
      assert.equal(metric in log, metric in wanted, `${metric} of step ${wanted.step}`);
      if (metric in wanted) near(metric);
    }
  });
  t.diagnostic(`worst ${worst.toExponential(1)} off`);
}
