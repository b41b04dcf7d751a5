// Small random models against PyTorch, PEFT and bitsandbytes, in the browser.
import { test } from "node:test";
import { checkBases, checkParity, checkPreferences } from "./parity.mjs";
import { openLab } from "./support.mjs";

const METHODS = ["cpo_f16_biases", "cpo_nf4", "cpo_phi3", "dpo_full", "dpo_list", "dpo_nf4", "kto_cut", "kto_nf4", "kto_pairs"];
const PREFERENCES = [...METHODS, "orpo_f16_biases", "orpo_gemma3", "orpo_nf4", "simpo_f16_biases", "simpo_gemma3", "simpo_nf4"];

test("small models train as PyTorch trains them, by WebGPU", async (t) => {
  const lab = await openLab(t, { keeps: true });
  await checkParity(t, lab.run);
  // The other two take SwiftShader a minute and a half; natively all of them are trained on a GPU's adapter.
  await checkBases(t, lab.run, ["gguf_q8_0_qwen2"]);
  // Each method on 4 bits and on dense weights.
  await checkPreferences(t, lab.run, PREFERENCES);
});

test("small models train as PyTorch trains them, by the processor", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  await checkParity(t, lab.run);
  await checkBases(t, lab.run);
  await checkPreferences(t, lab.run);
});
