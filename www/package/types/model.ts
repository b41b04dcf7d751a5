import type { Notice } from "./data.js";

/** What computes: WebGPU, the processor, or whichever of them is faster here. */
export type DeviceName = "auto" | "webgpu" | "cpu";

/** The GPU or processor that runs the job. */
export interface AdapterInfo {
  /** E.g. "7 workers on the processor". Empty where the browser keeps it to itself. */
  name: string;
  /** What the browser or the system drives it by, e.g. "webgpu" or "vulkan"; "cpu" where the processor computes. */
  backend: string;
  /** Of the processor, its instructions. Empty where the browser keeps it to itself. */
  driver: string;
  /** Whether a processor computes: as itself, or playing a GPU, as in headless browsers on machines without one. */
  is_software: boolean;
  /**
   * For people: why "auto" took the processor and what gets a GPU in this browser, and what a page needs for all cores
   * to compute. Left out where there is nothing to tell.
   */
  hint?: string;
  /** The largest buffer. */
  max_buffer_bytes: number;
  /** The largest part of a buffer that a kernel can see. */
  max_storage_binding_bytes: number;
  /** Memory that the threads of a workgroup share. */
  max_workgroup_storage_bytes: number;
}

/** The model that was loaded. */
export interface ModelInfo {
  /** As its config.json has it, e.g. "llama". */
  model_type: string;
  /** All of them. */
  parameters: number;
  /** Those that are held in 4 bits. */
  quantized_parameters: number;
  /** What the weights take on the device. */
  weight_bytes: number;
  /** Scales included; 0 where nothing is quantised. */
  bits_per_quantized_parameter: number;
  /** Tokens that it knows. */
  vocab_size: number;
  /** Numbers that stand for a token between two layers. */
  hidden_size: number;
  /** Layers of the decoder. */
  num_hidden_layers: number;
  /** The longest sequence, in tokens, that the model was made for. */
  context: number;
  /** Whether it can be asked as a chat; without a chat template it goes on from text. */
  has_chat_template: boolean;
  /** Of its config and weights as its files have them: the same wherever they lie, and whatever `quantization` makes of them. */
  fingerprint: string;
  /** What is worth knowing of its files and of the options that it was loaded with. */
  notices: Notice[];
}

/** A LoRA adapter that answers can be given with. */
export interface LoadedAdapter {
  /** "default" is the one that runs start from and train. */
  name: string;
  r: number;
  lora_alpha: number;
  target_modules: string[] | string;
  /** The model that it was trained on: a hub id, an address or a folder, as far as its files tell. */
  base_model_name_or_path: string | null;
}

/** One of the adapters that {@link Adapters.blend} makes one of. */
export interface BlendPart {
  /** Its name among the adapters. */
  adapter: string;
  /** What its change of the model is multiplied with; a negative weight takes away what it adds, and 0 leaves it out. */
  weight: number;
}
