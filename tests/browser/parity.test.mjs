// Small random models against PyTorch, PEFT and bitsandbytes, in the browser.
import { test } from "node:test";
import { checkBases, checkParity, checkPreferences } from "./parity.mjs";
import { openLab } from "./support.mjs";

/** Each method once, on 4 bits, dense weights and all weights. Natively every case is trained on both kinds of devices (tests/parity). */
const PREFERENCES = ["cpo_nf4", "dpo_full", "dpo_list", "kto_cut", "kto_nf4", "orpo_gemma3", "simpo_f16_biases"];

test("small models train as PyTorch trains them, by WebGPU", async (t) => {
  const lab = await openLab(t, { keeps: true });
  await checkParity(t, lab.run);
  // The other two take SwiftShader a minute and a half; natively all of them are trained on a GPU's adapter.
  await checkBases(t, lab.run, ["gguf_q8_0_qwen2"]);
  await checkPreferences(t, lab.run, PREFERENCES);
});

test("small models train as PyTorch trains them, by the processor", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  // The kernels that no Llama has: norms of heads and another gate, and biases.
  await checkParity(t, lab.run, ["gemma3text_bf16_tied", "llama_f16_biases"]);
  await checkBases(t, lab.run);
  await checkPreferences(t, lab.run, PREFERENCES);
});
