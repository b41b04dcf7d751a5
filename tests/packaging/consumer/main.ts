import { Dataset, TabtuneError, Trainer, VERSION, type DeviceName, type StepLog } from "tabtune";

async function run(device: DeviceName): Promise<StepLog[]> {
  const rows = [1, 2, 3, 4].map((n) => JSON.stringify({ text: `The number after ${n} is ${n + 1}.` })).join("\n");
  const dataset = await Dataset.open("numbers");
  await dataset.import(new Blob([rows]), { file_name: "numbers.jsonl" });

  const trainer = await Trainer.load("/model/", {
    lora: { r: 4, lora_alpha: 8, target_modules: "all-linear" },
    device,
  });
  const logs: StepLog[] = [];
  // Samples need the file that is loaded for nothing else here.
  const options = { run_name: device, learning_rate: 1e-3, max_steps: 1, max_length: 32, sample_prompts: ["The number"], sample_max_new_tokens: 2 };
  for await (const log of trainer.train(dataset, options)) {
    if ("loss" in log) logs.push(log);
  }
  const { steps } = await trainer.samples();
  if (steps.join() !== "0,1") throw new Error(`sampled after ${steps.join()}`);
  await trainer.dispose();
  return logs;
}

/** The steps on both devices. */
const both = async () => [...(await run("webgpu")), ...(await run("cpu"))];

const result = await both().catch((error: unknown) => {
  if (error instanceof TabtuneError) return { code: error.code, message: error.message };
  throw error;
});
Object.assign(globalThis, { result, VERSION });
