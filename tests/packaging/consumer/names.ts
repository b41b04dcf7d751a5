// Uses every name that the package exports, for the type checker alone.
import {
  cachedModels,
  Dataset,
  forgetModel,
  TabtuneError,
  Trainer,
  VERSION,
  webgpuProblem,
  type AdapterFiles,
  type AdapterInfo,
  type Adapters,
  type BadRow,
  type CachedModel,
  type CheckpointReport,
  type ComparedWay,
  type Counters,
  type DatasetInfo,
  type DatasetReport,
  type DataSource,
  type DeviceName,
  type Encoding,
  type ErrorCode,
  type EvalLog,
  type Exported,
  type ExportedFile,
  type ExportFormat,
  type FolderSource,
  type Footprint,
  type GenerateOptions,
  type GenerateResult,
  type HubOptions,
  type IgnoredFile,
  type ImportOptions,
  type ImportReport,
  type ImportRequest,
  type Inspection,
  type Lengths,
  type LoadedAdapter,
  type LoadOptions,
  type LoraConfig,
  type Message,
  type ModelInfo,
  type Notice,
  type Plan,
  type ProgressCallback,
  type ProgressEvent,
  type Prompt,
  type QuantizationConfig,
  type RowShape,
  type RunEvent,
  type RunOptions,
  type RunPolicy,
  type SavedCheckpoint,
  type SaveOptions,
  type SeenRow,
  type StepLog,
  type StoredRow,
  type Stream,
  type TrainConfig,
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
  const sampling: GenerateOptions = { max_new_tokens: 8 };
  const pieces = trainer.generate(messages, { ...sampling, signal });
  let piece = await pieces.next();
  while (!piece.done) piece = await pieces.next();
  const answer: GenerateResult = piece.value;

  const counters: Counters = await trainer.counters();
  console.log(adapter.name, adapter.hint, info.context, report.rows, first?.step, answer.stop, counters.buffers);
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
  const footprint: Footprint = await Trainer.estimate("owner/name", { ...hub, quantization, device });
  const compared: ComparedWay[] = await Trainer.compare("owner/name", { ...hub, device });
  const fitting: WayName[] = compared.filter(({ error }) => !error).map(({ way }) => way);
  const models: CachedModel[] = await cachedModels();
  await forgetModel(models[0]?.name ?? "");
  console.log(bad?.place, info.rows, rows.length, footprint.peak_gpu_bytes, ...fitting);
  return seen.mapping?.shape;
}

export async function look(trainer: Trainer, dataset: Dataset): Promise<number> {
  const seen: SeenRow[] = await trainer.preview(dataset, { count: 1 });
  const lengths: Lengths = await trainer.lengths(dataset, { bins: 4 });
  const policy: RunPolicy["max_pressure"] = "fair";
  const events: RunEvent[] = [];
  const options: RunOptions = { policy: { max_pressure: policy }, on_event: (event) => events.push(event), run_name: null };
  let last: CheckpointReport | undefined;
  for await (const log of trainer.train(dataset, options)) if ("loss" in log) last = log.checkpoint;
  const saved: SavedCheckpoint[] = await Trainer.checkpoints("rows");
  return seen.length + lengths.longest + events.length + saved.length + (last?.bytes ?? 0);
}

/** How a file is read that is in no Unicode encoding, and what of a folder is not read. */
export const old_encoding: Encoding = "windows-1252";
export const leftOut = ({ ignored_files }: ImportReport): IgnoredFile[] => ignored_files;
