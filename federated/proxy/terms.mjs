// The terms of a federation, federation.json: read and checked once, so that nobody is shown terms that its server cannot keep.
import { createPublicKey } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { Failure } from "../../tools/lib/options.mjs";

/** 10,000 enrolled keys take a fourth of this. */
const MOST_BYTES = 8 << 20;
const MOST_KEYS = 10_000;

/** Reads the terms in the file at `path`. Resolves to { bytes, terms, enrolled }: the file as it is, its fields with their defaults, and the enrolled keys' PEM texts or null. */
export async function readTerms(path) {
  const bytes = await read(path);
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Failure("bad-terms", `${path}: ${error.message}`);
  }
  const terms = checkTerms(value, path);
  return { bytes, terms, enrolled: terms.enrolled };
}

async function read(path) {
  try {
    const { size } = await stat(path);
    if (size > MOST_BYTES) throw new Failure("bad-terms", `${path} has ${size} bytes; terms have at most ${MOST_BYTES}`);
    return await readFile(path);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure("io", `the terms cannot be read: ${error.message}`);
  }
}

/** The terms in `value` with their defaults. An error tells the `file` and the field, as "privacy.clip". */
export function checkTerms(value, file = "federation.json") {
  try {
    const terms = record(FIELDS)(value, "");
    checkTogether(terms);
    return terms;
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    throw new Failure("bad-terms", `${file}: ${error.message}`);
  }
}

class Misfit extends Error {}

/** A check takes a value and where it is, and gives the value or throws what is wrong with it. */
const must = (holds, words) => (value, at) => {
  if (!holds(value)) throw new Misfit(`${at} must be ${words}, not ${brief(value)}`);
  return value;
};

const text = (most) => must((value) => typeof value === "string" && value.trim() !== "" && [...value].length <= most, `a text of 1 to ${most} characters`);
const whole = (least, most) => must((value) => Number.isInteger(value) && value >= least && value <= most, `a whole number from ${least} to ${most}`);
const above = (least, most) => must((value) => Number.isFinite(value) && value > least && value <= most, `a number above ${least}, at most ${most}`);
const from = (least, most) => must((value) => Number.isFinite(value) && value >= least && value <= most, `a number from ${least} to ${most}`);
const oneOf = (...values) => must((value) => values.includes(value), values.map((value) => JSON.stringify(value)).join(" or "));
const flag = oneOf(true, false);
const scalar = must((value) => ["string", "boolean"].includes(typeof value) || Number.isFinite(value), "a number, a text, true or false");
const orNull = (check) => (value, at) => (value === null ? null : check(value, at));

const list = (item, most) => (value, at) => {
  must((all) => Array.isArray(all) && all.length > 0 && all.length <= most, `a list of 1 to ${most} entries`)(value, at);
  return value.map((entry, index) => item(entry, `${at}[${index}]`));
};

const either = (plain, check) => (value, at) => (value === plain ? value : check(value, at));

const needed = (check) => ({ check });
/** `fallback` is a field's value where it is absent; undefined where that depends on other fields. */
const optional = (check, fallback) => ({ check, fallback, is_optional: true });

/** An object of exactly `fields`; where `more` is given, it checks the values of others. */
const record = (fields, more) => (value, at) => {
  must((it) => typeof it === "object" && it !== null && !Array.isArray(it), "an object")(value, at || "the whole");
  const name = (field) => (at === "" ? field : `${at}.${field}`);
  const read = {};
  for (const [field, inner] of Object.entries(value)) {
    const check = Object.hasOwn(fields, field) ? fields[field].check : /^[a-z][a-z0-9_]{0,63}$/.test(field) && more;
    if (!check) throw new Misfit(`${name(brief(field).slice(1, -1))} is no field of the terms (known here: ${Object.keys(fields).join(", ")})`);
    read[field] = check(inner, name(field));
  }
  for (const [field, { fallback, is_optional }] of Object.entries(fields)) {
    if (Object.hasOwn(value, field)) continue;
    if (!is_optional) throw new Misfit(`${name(field)} is missing`);
    read[field] = fallback;
  }
  return read;
};

/** The public key's PEM text as OpenSSL writes it, which is how nodes send it: lines of 64 characters, the last one ended too. */
const key = (value, at) => {
  must((pem) => typeof pem === "string" && pem.length <= 1024 && pem.includes("-----BEGIN PUBLIC KEY-----"), "a public key as PEM text")(value, at);
  let parsed;
  try {
    parsed = createPublicKey(value);
  } catch (error) {
    throw new Misfit(`${at} is not a public key as PEM text: ${error.message}`);
  }
  const curve = parsed.asymmetricKeyDetails?.namedCurve ?? parsed.asymmetricKeyType;
  must((name) => name === "secp384r1", "a key on the curve P-384 (secp384r1)")(curve, at);
  return parsed.export({ type: "spki", format: "pem" });
};

const PRIVACY = {
  mask: optional(flag, false),
  clip: optional(orNull(above(0, 1e9)), null),
  noise: optional(oneOf("none", "local", "central"), "none"),
  noise_multiplier: optional(from(0, 1e6), 0),
  delta: optional(must((value) => value > 0 && value < 1, "a number between 0 and 1"), 1e-5),
};

const LORA = {
  r: needed(whole(1, 4096)),
  lora_alpha: needed(above(0, 1e6)),
  target_modules: needed(either("all-linear", list(text(200), 1000))),
  freeze_a: optional(flag),
  lora_dropout: optional(from(0, 1)),
  use_rslora: optional(flag),
};

const TRAIN = {
  max_steps: needed(whole(1, 1e6)),
  learning_rate: needed(above(0, 10)),
  per_device_train_batch_size: optional(whole(1, 4096)),
  max_length: optional(whole(1, 1 << 20)),
};

const FIELDS = {
  version: needed(oneOf(1)),
  name: needed(text(80)),
  operator: needed(text(120)),
  purpose: optional(text(500)),
  base_model_name_or_path: needed(text(300)),
  lora: needed(record(LORA)),
  train: needed(record(TRAIN, scalar)),
  rounds: needed(whole(1, 1e6)),
  min_clients: optional(whole(1, 1e6), 2),
  aggregation: optional(oneOf("fedavg", "fedadam", "flexlora"), "fedavg"),
  server_learning_rate: optional(above(0, 1000)),
  delta_dtype: optional(oneOf("f32", "f16", "nf4"), "f32"),
  evaluate: optional(flag, true),
  privacy: optional(record(PRIVACY), record(PRIVACY)({}, "privacy")),
  round_seconds: optional(from(1, 7 * 86_400), 600),
  enrolled: optional(orNull(list(key, MOST_KEYS)), null),
};

/** What one field says of another; sets the defaults that depend on others. */
function checkTogether(terms) {
  const { lora, privacy, aggregation } = terms;
  const noised = privacy.noise !== "none";
  lora.freeze_a ??= noised;
  terms.server_learning_rate ??= aggregation === "fedadam" ? 0.01 : 1;
  const refuse = (holds, words) => {
    if (holds) throw new Misfit(words);
  };
  refuse(noised && privacy.clip === null, "privacy.clip must be a number where privacy.noise is not \"none\": noise hides no more than what is bounded");
  refuse(noised && privacy.noise_multiplier === 0, "privacy.noise_multiplier must be above 0 where privacy.noise is not \"none\"");
  refuse(!noised && privacy.noise_multiplier > 0, "privacy.noise_multiplier has no meaning where privacy.noise is \"none\"; say \"local\" or \"central\"");
  refuse(privacy.mask && terms.delta_dtype !== "f32", "delta_dtype must be \"f32\" with privacy.mask, whose sums are of whole numbers of 32 bits");
  refuse(privacy.mask && terms.min_clients < 2, "min_clients must be at least 2 with privacy.mask: the sum of one client is what it sent");
  refuse(aggregation === "flexlora" && lora.freeze_a, "lora.freeze_a must be false with the aggregation \"flexlora\", which decomposes anew what A and B make");
  refuse(aggregation === "flexlora" && privacy.mask, "privacy.mask does not go with the aggregation \"flexlora\": deltas of different ranks have no sum");
  refuse(new Set(terms.enrolled).size < (terms.enrolled?.length ?? 0), "enrolled names a key twice");
}

/** A value as an error quotes it. */
function brief(value) {
  const written = JSON.stringify(value) ?? String(value);
  return written.length > 60 ? `${written.slice(0, 57)}…` : written;
}
