// Small random models against PyTorch, PEFT and bitsandbytes, in the browser.
import { test } from "node:test";
import { checkBases, checkParity } from "./parity.mjs";
import { openLab } from "./support.mjs";

test("small models train as PyTorch trains them, by WebGPU", async (t) => {
  const lab = await openLab(t, { keeps: true });
  await checkParity(t, lab.run);
  // The other two take SwiftShader a minute and a half; natively all of them are trained on a GPU's adapter.
  await checkBases(t, lab.run, ["gguf_q8_0_qwen2"]);
});

test("small models train as PyTorch trains them, by the processor", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  await checkParity(t, lab.run);
  await checkBases(t, lab.run);
});
