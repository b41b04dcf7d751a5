import type { AdapterFiles } from "../types.js";
import type { AdapterCard } from "./card.js";
import { readConfig, type LoraTold } from "./config.js";
import { badAdapter, checkFile, complete, MOST_RANK, type ExchangedFiles, type ExchangeLimits } from "./limits.js";
import { checkFinite, tensorsOf, type AdapterTensor } from "./safetensors.js";
import { verify, type Verified } from "./signature.js";

/** The model that an adapter is to be for. */
export interface AdapterBase {
  base_model_name_or_path?: string | null;
  /** As cards have it. */
  fingerprint?: string | null;
}

/** What an adapter's files say of it, for a page to show before it is used. All of it is plain text and numbers. */
export interface AdapterInspection {
  /** Of both files. */
  bytes: number;
  tensors: number;
  /** Values in all tensors. */
  parameters: number;
  /** The types that values are stored in. */
  dtypes: AdapterTensor["dtype"][];
  /** The rank, and where modules have others, all of them. */
  r: number;
  ranks: number[];
  lora_alpha: number;
  /** The ends of the paths of what is adapted, e.g. "q_proj". */
  modules: string[];
  /** How many modules are adapted. */
  adapted: number;
  /** Numbers of the layers that are touched. */
  layers: number[];
  /** Biases of the model that it replaces. */
  biases: number;
  /** Whether it brings or changes an embedding or a head. */
  embeddings: boolean;
  /** Paths of modules that it brings whole, as `modules_to_save` does. */
  whole: string[];
  use_dora: boolean;
  use_rslora: boolean;
  base_model_name_or_path: string | null;
}

/** Whether an adapter is for a model. */
export interface AdapterFit {
  /** "unknown" where neither fingerprints nor names tell; the engine says more when it loads the adapter. */
  fits: "yes" | "no" | "unknown";
  /** What that is known from. */
  by: "fingerprint" | "name" | null;
}

/** What is known of an adapter that passed. */
export interface CheckedAdapter {
  files: ExchangedFiles;
  inspection: AdapterInspection;
  verified: Verified;
  fit: AdapterFit;
}

const PREFIX = "base_model.model.";
/** PEFT's matrices and magnitudes. */
const OF_LORA = /^(.+)\.(lora_A|lora_B)\.weight$|^(.+)\.lora_(magnitude_vector)(?:\.weight)?$|^(.+)\.(lora_embedding_[AB])$/;
const VOCABULARY = /(^|\.)(embed_tokens|lm_head|wte|embed_in|embed_out)$/;

/**
 * All that is asked of an adapter from outside before it is used: {@link verify} and {@link inspectAdapter}, and whether it fits. Throws what
 * they throw; an adapter that does not fit is told and not refused, because the person may know better.
 */
export async function checkAdapter(files: ExchangedFiles, base?: AdapterBase, limits: ExchangeLimits = {}): Promise<CheckedAdapter> {
  const inspection = await inspectAdapter(files, limits);
  const verified = await verify(files);
  return { files, inspection, verified, fit: fitOf(inspection, verified.card, base) };
}

/**
 * What an adapter touches. Throws `bad-adapter`, naming file and tensor, for files that are too large, of another format, inconsistent, of
 * a rank above 512 or with tensors that are no adapter's, and `not-finite` for values that are not.
 */
export async function inspectAdapter(files: AdapterFiles, limits: ExchangeLimits = {}): Promise<AdapterInspection> {
  for (const [name, bytes] of Object.entries(files)) checkFile(name, bytes.length, limits);
  const { "adapter_config.json": config_bytes, "adapter_model.safetensors": bytes } = complete(files);
  const config = readConfig(config_bytes);
  const tensors = tensorsOf(bytes);
  const parts = partsOf(tensors, config);
  await checkFinite(bytes, tensors);
  const paths = [...parts.adapted, ...parts.whole, ...parts.biases];
  const numbers = paths.flatMap((path) => path.split(".").filter((part) => /^\d{1,5}$/.test(part)).slice(0, 1));
  return {
    bytes: config_bytes.length + bytes.length,
    tensors: tensors.length,
    parameters: tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0),
    dtypes: [...new Set(tensors.map(({ dtype }) => dtype))].sort(),
    r: config.r,
    ranks: parts.ranks,
    lora_alpha: config.lora_alpha,
    modules: [...new Set(parts.adapted.map((path) => path.split(".").at(-1)!))].sort(),
    adapted: parts.adapted.length,
    layers: [...new Set(numbers.map(Number))].sort((one, other) => one - other),
    biases: parts.biases.length,
    embeddings: [...parts.adapted, ...parts.whole].some((path) => VOCABULARY.test(path)),
    whole: parts.whole.sort(),
    use_dora: config.use_dora,
    use_rslora: config.use_rslora,
    base_model_name_or_path: config.base_model_name_or_path,
  };
}

/** Whether an adapter is for a model. Fingerprints tell for sure; names are the same for the same model, but it has several. */
export function fitOf({ base_model_name_or_path }: AdapterInspection, card: AdapterCard | null, base: AdapterBase = {}): AdapterFit {
  const made_on = card?.base_model?.fingerprint;
  if (made_on !== undefined && base.fingerprint) return { fits: made_on === base.fingerprint ? "yes" : "no", by: "fingerprint" };
  const names = [card?.base_model?.name_or_path, base_model_name_or_path];
  const is_named = base.base_model_name_or_path && names.includes(base.base_model_name_or_path);
  return is_named ? { fits: "yes", by: "name" } : { fits: "unknown", by: null };
}

interface Parts {
  /** Paths of modules with LoRA's matrices. */
  adapted: string[];
  ranks: number[];
  biases: string[];
  whole: string[];
}

/** Sorts tensors by what they are, and checks that what belongs together does. */
function partsOf(tensors: AdapterTensor[], config: LoraTold): Parts {
  const matrices = new Map<string, Map<string, number[]>>();
  const [biases, whole]: [string[], Set<string>] = [[], new Set()];
  for (const { name, shape } of tensors) {
    if (!name.startsWith(PREFIX)) throw unfit(name, `does not begin with ${PREFIX}, as all names that PEFT writes`);
    const path = name.slice(PREFIX.length);
    const of_lora = OF_LORA.exec(path);
    if (of_lora) {
      const [, module = of_lora[3] ?? of_lora[5]!, kind = of_lora[4] ?? of_lora[6]!] = of_lora;
      const of_module = matrices.get(module) ?? new Map<string, number[]>();
      matrices.set(module, of_module.set(kind, shape));
    } else if (config.modules_to_save.some((saved) => isIn(path, saved)) || (path.endsWith(".weight") && VOCABULARY.test(path.slice(0, -7)))) {
      whole.add(path.replace(/\.(weight|bias)$/, ""));
    } else if (path.endsWith(".bias") && config.bias !== "none") {
      biases.push(path);
    } else {
      throw unfit(name, "is neither LoRA's nor named by bias or modules_to_save of the config");
    }
  }
  if (matrices.size === 0) throw badAdapter("adapter_model.safetensors has none of LoRA's matrices");
  const ranks = new Set<number>();
  for (const [module, shapes] of matrices) ranks.add(rankOf(module, shapes, config));
  return { adapted: [...matrices.keys()], ranks: [...ranks].sort((one, other) => one - other), biases, whole: [...whole] };
}

/** Whether a tensor's path lies in a module whose path ends with a name, as PEFT compares them: "norm" is all norms. */
function isIn(path: string, name: string): boolean {
  return path.includes(`${name}.`);
}

/** The rank of a module's matrices, A of [rank, in] and B of [out, rank], or the same for an embedding. */
function rankOf(module: string, shapes: Map<string, number[]>, { ranks }: LoraTold): number {
  const [first, second] = ["lora_A", "lora_embedding_A"].filter((kind) => shapes.has(kind));
  const a = first && shapes.get(first);
  const b = first && shapes.get(first.replace(/A$/, "B"));
  if (!a || !b || second !== undefined || shapes.size > (shapes.has("magnitude_vector") ? 3 : 2)) {
    throw unfit(PREFIX + module, "has not exactly a matrix A and a matrix B");
  }
  const rank = a[0]!;
  if (a.length !== 2 || b.length !== 2 || b[1] !== rank) throw unfit(PREFIX + module, `has matrices [${a}] and [${b}], which do not go together`);
  if (rank > MOST_RANK || !ranks.includes(rank)) throw unfit(PREFIX + module, `has rank ${rank}, but the config says ${ranks.join(", ")}`);
  return rank;
}

function unfit(tensor: string, what: string) {
  return badAdapter(`adapter_model.safetensors: ${tensor} ${what}`);
}
