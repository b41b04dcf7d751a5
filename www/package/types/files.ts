/** Progress in transformers.js's shape; `progress` is in percent. */
export interface ProgressEvent {
  /**
   * A word to match on: "waiting" for a connection; "initiate", "download", "progress" and "done" of files;
   * "measure" while the GPU's fastest kernels are found; "tokenize" of rows; "reference" of rows that are compared with a
   * reference; "score" of rows whose likelihood is
   * computed; "evaluate" of rows that models are compared by; "compile" while a run's kernels are prepared; "save" while files are written.
   */
  status: string;
  name: string;
  file: string;
  loaded?: number;
  total?: number;
  progress?: number;
  /** Why it waits, where `status` is "waiting". */
  detail?: string;
  /** Rows done so far, where rows are worked on. */
  rows?: number;
  /** At the speed so far. */
  remaining_seconds?: number;
}

export type ProgressCallback = (event: ProgressEvent) => void;

/** The files of a PEFT adapter by name. */
export type AdapterFiles = Record<"adapter_config.json" | "adapter_model.safetensors", Uint8Array<ArrayBuffer>>;

/**
 * What {@link Trainer.save} writes: "safetensors" is the merged model as the folder that transformers reads, "gguf" the
 * merged model as one file for llama.cpp and Ollama, and "lora-gguf" the adapter alone, for llama.cpp's `--lora`. Beside a
 * GGUF lies a Modelfile for Ollama. Of a run of all weights the model is what they became, and there is no adapter.
 */
export type ExportFormat = "safetensors" | "gguf" | "lora-gguf";

/** How {@link Trainer.save} writes a model. */
export interface SaveOptions {
  format: ExportFormat;
  /**
   * What values are written in. Default: what the model's files have; "f32" for an adapter. "q8_0" is a GGUF's alone: 8
   * bits and a scale for 32 values, where 32 does not divide a row "f16". Norms and biases of a GGUF are always "f32".
   */
  dtype?: "f32" | "f16" | "bf16" | "q8_0";
  /**
   * Where it goes: a folder that `showDirectoryPicker({ mode: "readwrite" })` gave, "opfs" for the browser's own storage,
   * or "download". Files are written in pieces as they are made. A download lies in the browser's own storage until the
   * next one; several files are downloaded one by one, which browsers ask about. Files of the same names are written over. The
   * folder that the model was loaded from is refused, because it is still read.
   */
  to: FileSystemDirectoryHandle | "opfs" | "download";
  /**
   * The adapter that takes part; "default" is also what a run of all weights made of them. Default: the active one, or else the
   * run's own; without any the model is written as it is.
   */
  adapter?: string;
  /** The name of a GGUF. Default: "model.gguf", or "adapter.gguf". */
  file?: string;
  /** Ends it as `cancelled`; the file that was being written is removed. */
  signal?: AbortSignal;
  /** Hears of each piece with the status "save". */
  progress_callback?: ProgressCallback;
}

/** A file that {@link Trainer.save} wrote. */
export interface ExportedFile {
  name: string;
  bytes: number;
}

/** What {@link Trainer.save} wrote. */
export interface Exported {
  files: ExportedFile[];
  /** Where they lie. */
  folder: FileSystemDirectoryHandle;
  /** What is worth knowing, e.g. what llama.cpp computes otherwise. */
  notices: string[];
}
