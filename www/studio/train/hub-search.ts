import { TabtuneError } from "tabtune";

/** A model that the hub found. */
export interface Found {
  /** The hub's. */
  id: string;
  /** Values of the model; undefined where the hub does not tell. */
  parameters: number | undefined;
  licence: string | undefined;
  gated: boolean;
  downloads: number;
}

const HUB = "https://huggingface.co";

/** How many are asked for, and how many are shown of those that can be trained here. */
const MOST = { asked: 50, shown: 12 };

/** Families that the engine knows, as configs name them. */
const FAMILIES: ReadonlySet<unknown> = new Set(["gemma3", "gemma3_text", "granite", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"]);

/** Bits that the engine does not read from safetensors. */
const FOREIGN = /\b(awq|gptq|mlx|exl2|exl3|onnx|fp8)\b/i;

/** Asks the hub for models of that name. Nothing but the words is sent. */
export async function searchHub(words: string, signal: AbortSignal): Promise<Found[]> {
  const about = ["config", "safetensors", "tags", "gated", "downloads"].map((name) => `expand[]=${name}`).join("&");
  const query = `search=${encodeURIComponent(words)}&filter=text-generation&sort=downloads&limit=${MOST.asked}&${about}`;
  const response = await fetch(`${HUB}/api/models?${query}`, { signal, credentials: "omit", referrerPolicy: "no-referrer" });
  if (!response.ok) throw new TabtuneError({ code: "io", message: `the hub answered ${response.status}`, context: [] });
  return foundIn(await response.json());
}

/** Models in the hub's answer that can be trained here, those first that most people load. */
export function foundIn(answer: unknown): Found[] {
  if (!Array.isArray(answer)) return [];
  const found = answer.flatMap((entry: unknown) => modelIn(entry) ?? []);
  return found.sort((a, b) => b.downloads - a.downloads).slice(0, MOST.shown);
}

/** A stranger's words: whatever is not as it should be is left out. */
function modelIn(entry: unknown): Found | undefined {
  const { id, config, safetensors, tags, gated, downloads } = record(entry);
  if (typeof id !== "string" || !/^\w[\w.-]*\/\w[\w.-]*$/.test(id) || FOREIGN.test(id)) return undefined;
  if (!FAMILIES.has(record(config)["model_type"])) return undefined;
  const marks = Array.isArray(tags) ? tags.filter((tag): tag is string => typeof tag === "string") : [];
  const { total } = record(safetensors);
  const has_weights = total !== undefined || marks.includes("safetensors");
  if (!has_weights || marks.some((tag) => FOREIGN.test(tag))) return undefined;
  return {
    id,
    parameters: typeof total === "number" && total > 0 ? total : undefined,
    licence: marks.find((tag) => tag.startsWith("license:"))?.slice("license:".length),
    gated: gated !== undefined && gated !== false,
    downloads: typeof downloads === "number" ? downloads : 0,
  };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
