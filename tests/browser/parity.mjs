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

/** Trains each of the models through `run`, which runs a job in a page, as a test of its own. */
export async function checkParity(t, run) {
  const models = readdirSync(paths.fixtures, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assert.ok(models.length >= 5, `only ${models.length} fixtures`);
  for (const { name } of models) await t.test(name, (t) => checkModel(t, run, paths.fixtures, `/fixtures/${name}`));
  for (const name of FAMILIES) await t.test(name, (t) => checkModel(t, run, paths.families, `/families/${name}`));
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
