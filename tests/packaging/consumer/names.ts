// Uses every name that the package exports, for the type checker alone.
import {
  cachedModels,
  Dataset,
  exportModel,
  forgetModel,
  importModel,
  TabtuneError,
  Trainer,
  VERSION,
  webgpuProblem,
  type AdapterFiles,
  type AdapterInfo,
  type Adapters,
  type AnsweredQuestion,
  type AnsweredRow,
  type AnswerEvaluation,
  type BadRow,
  type BestModel,
  type BlendPart,
  type CachedModel,
  type CheckpointReport,
  type Compared,
  type ComparedWay,
  type Counters,
  type DatasetInfo,
  type DatasetReport,
  type DataSource,
  type DeviceName,
  type Difference,
  type Encoding,
  type ErrorCode,
  type EvalLog,
  type EvaluateOptions,
  type Evaluation,
  type Exported,
  type ExportedFile,
  type ExportedModel,
  type ExportFormat,
  type FailedRow,
  type FolderSource,
  type Footprint,
  type Forgetting,
  type ForgettingOptions,
  type GenerateOptions,
  type GenerateResult,
  type HubOptions,
  type IgnoredFile,
  type ImportModelOptions,
  type ImportOptions,
  type ImportReport,
  type ImportRequest,
  type Inspection,
  type Interval,
  type Lengths,
  type ListedFile,
  type LoadedAdapter,
  type LoadOptions,
  type LoraConfig,
  type Message,
  type Metric,
  type ModelInfo,
  type ModelRecord,
  type Notice,
  type PairEvaluation,
  type Plan,
  type ProgressCallback,
  type ProgressEvent,
  type Prompt,
  type QuantizationConfig,
  type RecordedFile,
  type RowShape,
  type RunEvent,
  type RunOptions,
  type RunOutcome,
  type RunPolicy,
  type Sample,
  type SampledStep,
  type SampleGrid,
  type SavedCheckpoint,
  type SaveOptions,
  type EvalMetrics,
  type LossType,
  type PreferenceMetrics,
  type SeenRow,
  type SeenToken,
  type StepLog,
  type StoredRow,
  type Stream,
  type TextEvaluation,
  type TrainConfig,
  type Verdict,
  type WayName,
} from "tabtune";

export const problem: Promise<string | undefined> = webgpuProblem();
export const version: string = VERSION;

const quantization: QuantizationConfig = { load_in_4bit: true, bnb_4bit_quant_type: "nf4", requantize: null };
const lora: LoraConfig = { r: 8, target_modules: ["q_proj", "v_proj"] };
const device: DeviceName = "auto";
const train: TrainConfig = { learning_rate: 2e-4, completion_only_loss: null };
const progress_callback: ProgressCallback = ({ status, file }: ProgressEvent) => console.log(status, file);

export async function run(model: FolderSource, signal: AbortSignal): Promise<AdapterFiles> {
  const eval_dataset: Dataset = await Dataset.open("held out");
  const options: LoadOptions = { quantization, lora, train, device, eval_dataset, progress_callback, signal };
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
  const sampling: GenerateOptions = { max_new_tokens: 8, temperature: 1, top_k: 40, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.1, seed: 7 };
  const pieces = trainer.generate(messages, { ...sampling, signal });
  let piece = await pieces.next();
  while (!piece.done) piece = await pieces.next();
  const answer: GenerateResult = piece.value;
  const half: Message[] = [...messages, { role: "assistant", content: answer.text }];
  const { text: rest }: GenerateResult = await trainer.generate(half, { continue_final_message: true });

  const counters: Counters = await trainer.counters();
  console.log(adapter.name, adapter.hint, info.context, report.rows, first?.step, answer.stop, rest, counters.buffers);
  const format: ExportFormat = "gguf";
  const saving: SaveOptions = { format, dtype: "q8_0", to: "opfs", signal };
  const exported: Exported = await trainer.save(saving);
  const names: string[] = exported.files.map(({ name }: ExportedFile) => name);
  console.log(names, exported.notices);
  const files = await trainer.save();
  await trainer.dispose();
  return files;
}

export async function again(trainer: Trainer, files: AdapterFiles): Promise<string> {
  const adapters: Adapters = trainer.adapters;
  const loaded: LoadedAdapter = await adapters.load("again", files);
  const notices: Notice[] = trainer.model.notices;
  const prompt: Prompt = "Once upon a time";
  const answer: Stream<string, GenerateResult, GenerateResult> = trainer.generate(prompt);
  const parts: BlendPart[] = [{ adapter: loaded.name, weight: 0.5 }];
  await adapters.blend("half of it", parts);
  return `${loaded.name} ${notices.length} ${(await answer).text}`;
}

export function codeOf(thrown: unknown): ErrorCode | undefined {
  return thrown instanceof TabtuneError ? thrown.code : undefined;
}

export async function data(source: DataSource, hub: HubOptions): Promise<RowShape | undefined> {
  const columns: ImportOptions = { columns: { prompt: "question" }, on_bad_row: "skip" };
  const seen: Inspection = await Dataset.inspect(source, columns);
  const dataset = await Dataset.open("rows");
  const request: ImportRequest = { ...columns, resume: true, progress_callback };
  const report: ImportReport = await dataset.import(source, request);
  const bad: BadRow | undefined = report.bad_rows[0];
  const info: DatasetInfo = await dataset.info();
  const rows: StoredRow[] = await dataset.rows(0, 1);
  const held_out: number[] = await dataset.held_out(0.1);
  const footprint: Footprint = await Trainer.estimate("owner/name", { ...hub, quantization, device });
  const compared: ComparedWay[] = await Trainer.compare("owner/name", { ...hub, device });
  const fitting: WayName[] = compared.filter(({ error }) => !error).map(({ way }) => way);
  const models: CachedModel[] = await cachedModels();
  const taken: ExportedModel = await exportModel(models[0]?.name ?? "", models[0]?.revision);
  const { record }: { record: ModelRecord } = taken;
  const [file]: RecordedFile[] = record.files;
  const listed: ListedFile | undefined = record.list?.files[file?.name ?? ""];
  await forgetModel(models[0]?.name ?? "");
  const ways: ImportModelOptions = { progress_callback, signal: new AbortController().signal };
  const back: CachedModel = await importModel({ record, read: () => [new Blob([listed?.version ?? ""])] }, ways);
  console.log(bad?.place, info.rows, rows.length + held_out.length, footprint.peak_gpu_bytes, back.bytes, ...fitting);
  return seen.mapping?.shape;
}

export async function look(trainer: Trainer, dataset: Dataset): Promise<number> {
  const seen: SeenRow[] = await trainer.preview(dataset, { count: 1 });
  const token: SeenToken | undefined = seen[0]?.rejected?.tokens[0];
  const loss_type: LossType = "ipo";
  const told: PreferenceMetrics & EvalMetrics = {};
  const preferred = await trainer.train(dataset, { method: "dpo", loss_type: [loss_type, "sft"], loss_weights: [1, token?.id ?? 0.1] });
  console.log(preferred.length, told["rewards/margins"], told["eval_rewards/accuracies"]);
  const lengths: Lengths = await trainer.lengths(dataset, { bins: 4 });
  const policy: RunPolicy["max_pressure"] = "fair";
  const events: RunEvent[] = [];
  const options: RunOptions = { policy: { max_pressure: policy }, on_event: (event) => events.push(event), run_name: null };
  let last: CheckpointReport | undefined;
  for await (const log of trainer.train(dataset, options)) if ("loss" in log) last = log.checkpoint;
  const saved: SavedCheckpoint[] = await Trainer.checkpoints("rows");
  const carried: Blob = await Trainer.export_run("rows", { progress_callback });
  const taken: SavedCheckpoint = await Trainer.import_run("others", carried, { overwrite: true });
  await Trainer.import_run("bytes", new Uint8Array(await carried.arrayBuffer()), { signal: AbortSignal.timeout(1000) });
  await dataset.rename("other rows");
  return seen.length + lengths.longest + events.length + saved.length + (last?.bytes ?? 0) + taken.step;
}

export async function judge(trainer: Trainer, held_out: Dataset): Promise<Verdict> {
  const length: Metric = (text: string, row: AnsweredRow) => text.length <= String(row.answer).length;
  const how: EvaluateOptions = { metrics: ["f1", { name: "a number", pattern: /\d/ }, length], max_new_tokens: 8, train: { max_length: 64 } };
  const found: Evaluation = await trainer.evaluate(held_out, how);
  const failed: FailedRow[] = (found satisfies Compared).failed;
  if (found.kind !== "answers") return ofTexts(found);
  const answers: AnswerEvaluation = found;
  const first: AnsweredQuestion | undefined = answers.answers[0];
  const f1: Difference | undefined = answers.difference["f1"];
  const asked: ForgettingOptions = { texts: ["Bread needs little."] };
  const forgetting: Forgetting = await trainer.forgetting(asked);
  const rose: Interval = forgetting.rose_by;
  console.log(failed.length, first?.base.text, f1?.low, rose.high, forgetting.sentence);
  return found.verdict;
}

function ofTexts(found: TextEvaluation | PairEvaluation): Verdict {
  return found.kind === "text" ? found.difference.loss.verdict : found.difference.accuracy.verdict;
}

export async function sampled(trainer: Trainer, dataset: Dataset): Promise<BestModel | undefined> {
  const seen: Sample[] = [];
  const on_event = ({ sampled }: { sampled?: SampledStep }) => seen.push(...(sampled?.samples ?? []));
  const train: TrainConfig = { eval_steps: 0.2, load_best_model_at_end: true, metric_for_best_model: "loss", greater_is_better: false };
  await trainer.train(dataset, { ...train, sample_prompts: ["Why?"], sample_steps: 0.5, early_stopping_patience: 2, on_event });
  const grid: SampleGrid = await trainer.samples();
  const outcome: RunOutcome | undefined = trainer.outcome;
  console.log(seen.length, grid.texts[0]?.[0], outcome?.reason);
  return outcome?.best;
}

/** How a file is read that is in no Unicode encoding, and what of a folder is not read. */
export const old_encoding: Encoding = "windows-1252";
export const leftOut = ({ ignored_files }: ImportReport): IgnoredFile[] => ignored_files;
