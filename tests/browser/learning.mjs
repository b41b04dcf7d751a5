// A run of the bundled model lowers its loss and writes an adapter, on whatever device.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../../tools/lib/paths.mjs";
import { parseSafetensors } from "./safetensors.mjs";
import { bundledConfig, bytesOf, fewRows, mean, valueOf } from "./support.mjs";

/** Trains the bundled model in `lab`: the loss falls on the rows and on held-out rows, and what comes of it is a PEFT adapter. */
export async function checkTraining(lab) {
  const config = bundledConfig({ max_steps: 12, per_device_train_batch_size: 2 });
  lab.mounts["/few.jsonl"] = fewRows(paths.data);
  const { plan, steps, evals, files, model } = valueOf(
    await lab.run({ config, rows: "/few.jsonl", heldout: "/heldout.jsonl", evaluate: true }),
  );
  assert.equal(plan.total_steps, 12);
  assert.deepEqual(steps.map(({ step }) => step), Array.from({ length: 12 }, (_, place) => place + 1));
  assert.ok(steps.every(({ loss, grad_norm }) => Number.isFinite(loss) && grad_norm > 0));
  assert.ok(mean(steps.slice(-5).map(({ loss }) => loss)) < mean(steps.slice(0, 5).map(({ loss }) => loss)));
  assert.ok(evals.at(-1).eval_loss < evals[0].eval_loss);
  assert.ok(steps.every(({ peak_gpu_bytes }) => peak_gpu_bytes <= plan.peak_gpu_bytes));
  assert.equal(Object.values(plan.gpu_bytes).reduce((sum, bytes) => sum + bytes, 0), plan.peak_gpu_bytes);
  if (config.quantization?.load_in_4bit) assert.ok(model.bits_per_quantized_parameter <= 4.6);

  assert.deepEqual(Object.keys(files).sort(), ["adapter_config.json", "adapter_model.safetensors"]);
  const adapter = JSON.parse(new TextDecoder().decode(bytesOf(files["adapter_config.json"])));
  assert.equal(adapter.peft_type, "LORA");
  assert.equal(adapter.task_type, "CAUSAL_LM");
  assert.equal(adapter.r, config.lora.r);
  const { num_hidden_layers, hidden_size } = JSON.parse(readFileSync(join(paths.model, "config.json"), "utf8"));
  const tensors = parseSafetensors(bytesOf(files["adapter_model.safetensors"]));
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    const name = `base_model.model.model.layers.${layer}.self_attn.q_proj`;
    assert.deepEqual(tensors[`${name}.lora_A.weight`].shape, [adapter.r, hidden_size]);
    assert.deepEqual(tensors[`${name}.lora_B.weight`].shape, [hidden_size, adapter.r]);
    assert.ok(tensors[`${name}.lora_B.weight`].bytes.some((byte) => byte !== 0), "B was trained away from zero");
  }
}
