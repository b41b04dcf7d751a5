import { Fields, parseJson, type Place } from "./json.js";
import { badAdapter, LONGEST_NAME, LONGEST_PATTERN, MOST_NAMES, MOST_RANK, mostBytes } from "./limits.js";

/** What is told of a PEFT config. The engine, which loads it, looks at all of it. */
export interface LoraTold {
  base_model_name_or_path: string | null;
  r: number;
  lora_alpha: number;
  /** Names, or a regular expression, which is not run here. */
  target_modules: string[] | string;
  /** Ranks that modules may have: `r` and those of `rank_pattern`. */
  ranks: number[];
  modules_to_save: string[];
  bias: string;
  use_rslora: boolean;
  use_dora: boolean;
}

const FILE = "adapter_config.json";
const PLACE: Place = { name: FILE, code: "bad-adapter" };
const JSON_LIMITS = { bytes: mostBytes({})[FILE], depth: 8, values: 50_000 };

/** Reads what is told of an adapter. Throws `bad-adapter`, naming the field. */
export function readConfig(bytes: Uint8Array): LoraTold {
  const fields = new Fields(PLACE, parseJson(PLACE, bytes, JSON_LIMITS));
  if (fields.any("peft_type") !== "LORA") throw badAdapter(`${FILE}: peft_type is not "LORA", the only kind that is taken`);
  const r = fields.needed("r", fields.whole("r", 1, MOST_RANK));
  const lora_alpha = fields.needed("lora_alpha", fields.number("lora_alpha"));
  if (lora_alpha <= 0) throw badAdapter(`${FILE}: lora_alpha is ${lora_alpha}, not a positive number`);
  const patterns = fields.fields("rank_pattern");
  if (patterns && patterns.names.length > MOST_NAMES) throw badAdapter(`${FILE}: rank_pattern has more than ${MOST_NAMES} entries`);
  const others = patterns?.names.map((name) => patterns.needed(name, patterns.whole(name, 1, MOST_RANK))) ?? [];
  const given = fields.needed("target_modules", fields.any("target_modules"));
  const target_modules = typeof given === "string" ? fields.line("target_modules", LONGEST_PATTERN)! : namesOf(fields, "target_modules")!;
  if (target_modules.length === 0) throw badAdapter(`${FILE}: target_modules names nothing`);
  return {
    base_model_name_or_path: fields.line("base_model_name_or_path", 500) ?? null,
    r,
    lora_alpha,
    target_modules,
    ranks: [...new Set([r, ...others])].sort((one, other) => one - other),
    modules_to_save: namesOf(fields, "modules_to_save") ?? [],
    bias: fields.matching("bias", /^(none|all|lora_only)$/, '"none", "all" or "lora_only"') ?? "none",
    use_rslora: fields.flag("use_rslora") ?? false,
    use_dora: fields.flag("use_dora") ?? false,
  };
}

/** Names of modules: letters, digits, dots, dashes and underscores. */
function namesOf(fields: Fields, name: string): string[] | undefined {
  const names = fields.list(name, MOST_NAMES);
  for (const [index, value] of names?.entries() ?? []) {
    const fits = typeof value === "string" && value.length <= LONGEST_NAME && /^[\w.-]+$/.test(value);
    if (!fits) throw badAdapter(`${FILE}: entry ${index} of ${name} is no name of a module`);
  }
  return names as string[] | undefined;
}
