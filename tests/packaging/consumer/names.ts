// Uses every name that the package exports, for the type checker alone.
import {
  Dataset,
  TabtuneError,
  Trainer,
  VERSION,
  webgpuProblem,
  type AdapterFiles,
  type AdapterInfo,
  type Counters,
  type DatasetReport,
  type ErrorCode,
  type EvalLog,
  type FolderSource,
  type GenerateOptions,
  type GenerateResult,
  type LoadOptions,
  type LoraConfig,
  type Message,
  type ModelInfo,
  type Plan,
  type ProgressCallback,
  type ProgressEvent,
  type QuantizationConfig,
  type RunOptions,
  type StepLog,
  type TrainConfig,
} from "tabtune";

export const problem: Promise<string | undefined> = webgpuProblem();
export const version: string = VERSION;

const quantization: QuantizationConfig = { load_in_4bit: true, bnb_4bit_quant_type: "nf4" };
const lora: LoraConfig = { r: 8, target_modules: ["q_proj", "v_proj"] };
const train: TrainConfig = { learning_rate: 2e-4, completion_only_loss: null };
const progress_callback: ProgressCallback = ({ status, file }: ProgressEvent) => console.log(status, file);

export async function run(model: FolderSource, signal: AbortSignal): Promise<AdapterFiles> {
  const eval_dataset: Dataset = await Dataset.open("held out");
  const options: LoadOptions = { quantization, lora, train, eval_dataset, progress_callback, signal };
  const trainer: Trainer = await Trainer.load(model, options);
  const adapter: AdapterInfo = trainer.adapter;
  const info: ModelInfo = trainer.model;
  const limits: RunOptions = { max_steps: 1, signal };
  const plan: Plan = await trainer.prepare(await Dataset.open("rows"), limits);
  const report: DatasetReport = plan.eval_dataset ?? plan.dataset;
  const logs: (StepLog | EvalLog)[] = [];
  for await (const log of trainer.train()) logs.push(log);
  const first: StepLog | EvalLog | undefined = logs[0];

  const messages: Message[] = [{ role: "user", content: "Why?" }];
  const sampling: GenerateOptions = { max_new_tokens: 8 };
  const pieces = trainer.generate(messages, { ...sampling, signal });
  let piece = await pieces.next();
  while (!piece.done) piece = await pieces.next();
  const answer: GenerateResult = piece.value;

  const counters: Counters = await trainer.counters();
  console.log(adapter.name, info.context, report.rows, first?.step, answer.stop, counters.buffers);
  const files = await trainer.save();
  await trainer.dispose();
  return files;
}

export function codeOf(thrown: unknown): ErrorCode | undefined {
  return thrown instanceof TabtuneError ? thrown.code : undefined;
}
