// The command line of `./build.sh train` and the config file it names. train/src/options.rs says the same of
// the native engine.
import { readdirSync, realpathSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { paths } from "./paths.mjs";

/** An error for people: printed as error[code]: message. */
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const PARTS = ["quantization", "lora", "train", "init_adapter"];

/** What computes; WebGPU without the option, because its kernels are what the command line is mostly for. */
const DEVICES = ["auto", "webgpu", "cpu"];

/** What a model is written in whose weights were all trained; what was trained, to the bit, without the option. */
const DTYPES = ["f32", "bf16", "f16"];

/** What a run is when only rows are given: TRL's and PEFT's defaults on a base in 4 bits. */
const DEFAULT_CONFIG = { quantization: { load_in_4bit: true, bnb_4bit_quant_type: "nf4" } };

function parse(args) {
  const option = { type: "string" };
  try {
    const names = ["model", "data", "eval", "config", "out", "device", "dtype"];
    return parseArgs({ args, options: Object.fromEntries(names.map((name) => [name, option])) }).values;
  } catch (error) {
    throw new Failure("bad-option", error.message);
  }
}

/** The text of a config. Editors on Windows begin it with a byte order mark, which may tell UTF-16. */
async function readText(path) {
  const bytes = await readFile(path);
  const mark = bytes.toString("hex", 0, 2);
  return new TextDecoder({ fffe: "utf-16le", feff: "utf-16be" }[mark] ?? "utf-8").decode(bytes);
}

async function readConfig(path) {
  let config;
  try {
    config = JSON.parse(await readText(path));
  } catch (error) {
    throw new Failure(error instanceof SyntaxError ? "bad-option" : "io", `${path}: ${error.message}`);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Failure("bad-option", `${path}: must hold a JSON object`);
  }
  const unknown = Object.keys(config).find((name) => !PARTS.includes(name));
  if (unknown !== undefined) {
    const hint = 'options of training belong into "train", those of the adapter into "lora"';
    throw new Failure("bad-option", `${path}: unknown part "${unknown}" (known: ${PARTS.join(", ")}); ${hint}`);
  }
  const { init_adapter } = config;
  if (init_adapter === undefined || init_adapter === null) return config;
  if (typeof init_adapter !== "string") throw new Failure("bad-option", `${path}: init_adapter must be a folder`);
  return { ...config, init_adapter: folder(resolve(dirname(path), init_adapter), "init_adapter") };
}

const statOf = (path) => statSync(path, { throwIfNoEntry: false });

/** A path where a file must lie. */
function file(path, option) {
  const found = statOf(path);
  if (!found) throw new Failure("io", `${option} ${path} does not exist`);
  if (!found.isDirectory()) return path;
  const names = readdirSync(path).sort().slice(0, 8);
  throw new Failure("io", `${option} ${path} is a folder; name one of its files (${names.join(", ")})`);
}

/** A path where a folder must lie; `given` is how it was written. */
function folder(path, option, given = path) {
  const found = statOf(path);
  if (found?.isDirectory()) return path;
  if (found) throw new Failure("io", `${option} ${path} is a file; name the folder that holds it`);
  const is_id = /^[^./][^/]*\/[^/]+$/.test(given) || given.includes("://");
  const hint = is_id ? "; the command line takes a folder, not a model's name on a hub: download its files into one first" : "";
  throw new Failure("io", `${option}: there is no folder ${given}${hint}`);
}

/** A path where a model must lie: a folder, or a GGUF. */
function model(path, option, given) {
  return isGguf(path) && statOf(path)?.isFile() ? path : folder(path, option, given);
}

/** Whether a path is that of a GGUF, or of a part of one. */
export function isGguf(path) {
  return /\.gguf$/i.test(path);
}

/** Which rows tell how well the model does: those of a file, a share of the rows, or some that are trained on. */
function evaluated(given, config) {
  const has_share = config.train?.test_size > 0;
  if (given.eval !== undefined) {
    if (has_share) throw new Failure("bad-option", "--eval and train.test_size cannot go together: leave one of them out");
    return { evaluated: "file", heldout: file(resolve(given.eval), "--eval") };
  }
  if (has_share) return { evaluated: "share" };
  return given.data === undefined ? { evaluated: "file", heldout: paths.heldout } : { evaluated: "sample" };
}

/** What the result is written in where it is a model; undefined where it is an adapter. */
function dtypeOf({ dtype }, config) {
  if (config.train?.finetuning_type !== "full") {
    if (dtype === undefined) return undefined;
    throw new Failure("bad-option", '--dtype is for runs whose train.finetuning_type is "full"; adapters are written in f32');
  }
  if (dtype === undefined || DTYPES.includes(dtype)) return dtype ?? "f32";
  throw new Failure("bad-option", `dtype is "${dtype}", not one of ${DTYPES.join(", ")}`);
}

/** Whether two paths are the same place, which is there. */
function isSame(path, other) {
  return statOf(path) !== undefined && realpathSync(path) === realpathSync(other);
}

/** Everything a run needs, with absolute paths. What the engine knows about options is left to it. */
export async function trainOptions(args) {
  const given = parse(args);
  const config_file = given.config ?? (given.data === undefined ? paths.config : undefined);
  const config = config_file ? await readConfig(file(resolve(config_file), "--config")) : DEFAULT_CONFIG;
  const device = given.device ?? "webgpu";
  if (!DEVICES.includes(device)) {
    throw new Failure("bad-option", `device must be auto, webgpu or cpu, not "${device}"`);
  }
  const out = resolve(given.out ?? "out");
  if (statOf(out)?.isFile()) throw new Failure("io", `--out ${out} is a file, not a folder`);
  const from = model(resolve(given.model ?? paths.model), "--model", given.model);
  const dtype = dtypeOf(given, config);
  if (dtype !== undefined && isSame(out, from)) {
    throw new Failure("bad-option", `--out ${out} is where the model itself lies, which is still read; name another folder`);
  }
  return {
    model: from,
    data: file(resolve(given.data ?? paths.data), "--data"),
    ...evaluated(given, config),
    out,
    config,
    device,
    dtype,
  };
}
