import { Dataset, TabtuneError, Trainer, type AdapterFiles, type DataSource, type ErrorCode, type RunOptions } from "tabtune";

/** What to do, and who hears of it. */
export interface Order {
  model: string;
  rows: DataSource;
  question: string;
  /** Ends it. What was learnt by then is kept. */
  signal: AbortSignal;
  /** A new part of the work begins. */
  onPhase(text: string): void;
  /** How far the part is: `share` goes from 0 to 1. */
  onProgress(text: string, share: number): void;
  onPiece(when: "before" | "after", piece: string): void;
}

/** These suit a few rows and a small model. Without a name the run keeps no checkpoints, since it is over in a minute. */
const RUN: RunOptions = {
  run_name: null,
  max_steps: 60,
  learning_rate: 1e-3,
  per_device_train_batch_size: 4,
  assistant_only_loss: true,
};

/** Loads the model, asks it, trains an adapter, asks again and gives the adapter's files. */
export async function fineTune({ model, rows, question, signal, onPhase, onProgress, onPiece }: Order): Promise<AdapterFiles> {
  onPhase("Reading the rows");
  const dataset = await Dataset.open("vite-example");
  await dataset.import(rows, { signal });
  onPhase("Loading the model");
  const trainer = await Trainer.load(model, {
    quantization: { load_in_4bit: true },
    lora: { r: 16, lora_alpha: 32, target_modules: "all-linear" },
    progress_callback: ({ status, file, progress = 0 }) => onProgress(`${status} ${file}`, progress / 100),
    signal,
  });
  const ask = async (when: "before" | "after") => {
    const answer = trainer.generate([{ role: "user", content: question }], { max_new_tokens: 40 });
    for await (const piece of answer) onPiece(when, piece);
  };
  try {
    onPhase("Asking");
    await ask("before");
    onPhase("Training");
    await train(trainer, dataset, { signal, onProgress });
    onPhase("Asking again");
    await ask("after");
    return await trainer.save();
  } finally {
    await trainer.dispose();
  }
}

async function train(trainer: Trainer, dataset: Dataset, { signal, onProgress }: Pick<Order, "signal" | "onProgress">) {
  let learnt = false;
  try {
    for await (const log of trainer.train(dataset, { ...RUN, signal })) {
      if (!("loss" in log)) continue;
      learnt = true;
      const left = `${Math.ceil(log.remaining_seconds)} s left`;
      onProgress(`Step ${log.step} of ${log.total_steps}: loss ${log.loss.toFixed(2)}, ${left}`, log.step / log.total_steps);
    }
  } catch (error) {
    // Stopping is no failure: the adapter is as the last step left it.
    if (!(learnt && error instanceof TabtuneError && error.code === "cancelled")) throw error;
  }
}

/** What people can do about it. Other codes show the error's own message. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  "bad-model": "There is no model at this place, or one of its files is damaged.",
  "quota-exceeded": "The browser's storage for this site is full.",
  "out-of-memory": "There is too little memory for this model. Take a smaller one.",
  cancelled: "Stopped.",
  io: "The model could not be read. Check its name, and whether you are online.",
};

/** An error in words; one that is not the package's is a mistake of the page, and is thrown again. */
export function textOf(error: unknown): string {
  if (!(error instanceof TabtuneError)) throw error;
  return `${ADVICE[error.code] ?? error.message} (${error.code})`;
}
