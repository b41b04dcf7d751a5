// The command line of `./build.sh train` and the config file it names.
import { existsSync } from "node:fs";
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

/** What a run is when only rows are given: TRL's and PEFT's defaults on a base in 4 bits. */
const DEFAULT_CONFIG = { quantization: { load_in_4bit: true, bnb_4bit_quant_type: "nf4" } };

function parse(args) {
  const option = { type: "string" };
  try {
    return parseArgs({ args, options: { model: option, data: option, eval: option, config: option, out: option } }).values;
  } catch (error) {
    throw new Failure("bad-option", error.message);
  }
}

async function readConfig(file) {
  let config;
  try {
    config = JSON.parse(await readFile(file, "utf8"));
  } catch (error) {
    throw new Failure(error instanceof SyntaxError ? "bad-option" : "io", `${file}: ${error.message}`);
  }
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Failure("bad-option", `${file}: must hold a JSON object`);
  }
  const unknown = Object.keys(config).find((name) => !PARTS.includes(name));
  if (unknown !== undefined) {
    throw new Failure("bad-option", `${file}: unknown part "${unknown}" (known: ${PARTS.join(", ")})`);
  }
  if (config.init_adapter !== undefined) {
    if (typeof config.init_adapter !== "string") throw new Failure("bad-option", `${file}: init_adapter must be a folder`);
    config.init_adapter = existing(resolve(dirname(file), config.init_adapter), "init_adapter");
  }
  return config;
}

function existing(path, what) {
  if (!existsSync(path)) throw new Failure("io", `${what} ${path} does not exist`);
  return path;
}

/** Everything a run needs, with absolute paths. */
export async function trainOptions(args) {
  const given = parse(args);
  const bundled = given.data === undefined;
  const data = existing(resolve(given.data ?? paths.data), "--data");
  const heldout = given.eval ?? (bundled ? paths.heldout : data);
  const config_file = given.config ?? (bundled ? paths.config : undefined);
  return {
    bundled,
    data,
    heldout: existing(resolve(heldout), "--eval"),
    model: existing(resolve(given.model ?? paths.model), "--model"),
    out: resolve(given.out ?? "out"),
    config: config_file ? await readConfig(existing(resolve(config_file), "--config")) : DEFAULT_CONFIG,
  };
}
