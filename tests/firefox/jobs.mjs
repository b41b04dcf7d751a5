// What runs in Firefox's pages.

/** What the browser says of its storage and its GPU, and whether it answers a question that nobody sees. */
export async function lookAround() {
  const adapter = await navigator.gpu.requestAdapter();
  const { state } = await navigator.permissions.query({ name: "persistent-storage" });
  const unanswered = new Promise((resolve) => setTimeout(resolve, 500, "unanswered"));
  const persist = await Promise.race([navigator.storage.persist(), unanswered]);
  return { state, persist, features: [...adapter.features], is_isolated: crossOriginIsolated };
}

/** Imports `{ name, base64 }` in the way that `kind` says; tells what is kept. */
export async function importAs({ kind, name, base64 }) {
  const { tabtune, outcome } = globalThis.runner;
  const file = new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], name);
  const sources = {
    file: () => file,
    stream: () => file.stream(),
    async *rows() {
      for (let row = 0; row < 1500; row++) yield { prompt: `p ${row}`, completion: `c ${row}` };
    },
    async directory() {
      const root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle("picked", { create: true });
      const writable = await (await folder.getFileHandle(name, { create: true })).createWritable();
      await writable.write(file);
      await writable.close();
      return folder;
    },
  };
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open(`as ${kind} ${name}`);
    const looked = kind === "file" && (await tabtune.Dataset.inspect(file)).format;
    await dataset.import(await sources[kind](), { on_bad_row: "skip" });
    const { rows } = await dataset.info();
    const [first] = await dataset.rows(0, 1);
    return { looked, rows, first: first.row };
  });
}

/** Trains a run from where it stands; `globalThis.steps` has the steps that were told. */
export async function trainOn({ run_name, steps }) {
  const { tabtune, outcome } = globalThis.runner;
  globalThis.steps = [];
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open("few");
    const trainer = await tabtune.Trainer.load("/small/", {
      quantization: { load_in_4bit: true },
      lora: { r: 8, lora_dropout: 0.1 },
      train: { max_steps: steps, learning_rate: 1e-3, per_device_train_batch_size: 2, shuffle_dataset: true, seed: 3 },
    });
    const told = [];
    const on_event = ({ type }) => told.push(type);
    const run = { run_name, resume_from_checkpoint: true, save_steps: 1, policy: false, on_event };
    for await (const { step, loss } of trainer.train(dataset, run)) globalThis.steps.push([step, loss]);
    const earlier = (trainer.plan.resumed?.log ?? []).map(({ step, loss }) => [step, loss]);
    const { "adapter_model.safetensors": adapter } = await trainer.save();
    await trainer.dispose();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", adapter));
    return { log: [...earlier, ...globalThis.steps], told, hash: Array.from(digest).join(" "), first: globalThis.steps[0][0] };
  });
}
