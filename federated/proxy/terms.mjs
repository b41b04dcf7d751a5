// The terms of a federation, federation.json: read and checked once, so that nobody is shown terms that its server cannot keep.
import { createPublicKey } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { Failure } from "../../tools/lib/options.mjs";

/** Some 4,000 enrolled keys. The bounds here are those of the server's app, federated/server/tabtune_federated/terms.py. */
const MOST_BYTES = 1 << 20;
const MOST_KEYS = 10_000;
const MOST_OF_TRAIN = 40;
/** Shamir's shares lie in GF(2^8), which has as many points. */
const MOST_MASKED = 255;

/**
 * Reads the terms in the file at `path`. Resolves to { bytes, terms, enrolled }: the file as it is, its fields with their defaults, and the
 * enrolled keys' PEM texts or null.
 */
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
    checkTogether(terms, Object.keys(value.train).length);
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

const isText = (value, most) => typeof value === "string" && value.trim() !== "" && [...value].length <= most;
const isWithin = (value, least, most) => Number.isFinite(value) && value >= least && value <= most;
const isWhole = (value, least, most) => Number.isInteger(value) && isWithin(value, least, most);

const text = (most) => must((value) => isText(value, most), `a text of 1 to ${most} characters`);
const whole = (least, most) => must((value) => isWhole(value, least, most), `a whole number from ${least} to ${most}`);
const from = (least, most) => must((value) => isWithin(value, least, most), `a number from ${least} to ${most}`);
const above = (least, most) => must((value) => isWithin(value, least, most) && value > least, `a number above ${least}, at most ${most}`);
const oneOf = (...values) => must((value) => values.includes(value), values.map((value) => JSON.stringify(value)).join(" or "));
const flag = oneOf(true, false);
const scalar = must(
  (value) => typeof value === "boolean" || Number.isFinite(value) || (typeof value === "string" && [...value].length <= 120),
  "a number, a short text, true or false",
);
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
    if (!check) {
      const known = Object.keys(fields).join(", ");
      throw new Misfit(`${name(brief(field).slice(1, -1))} is no field of the terms (known here: ${known})`);
    }
    read[field] = check(inner, name(field));
  }
  for (const [field, { fallback, is_optional }] of Object.entries(fields)) {
    if (Object.hasOwn(value, field)) continue;
    if (!is_optional) throw new Misfit(`${name(field)} is missing`);
    if (fallback !== undefined) read[field] = fallback;
  }
  return read;
};

/** One public key and nothing beside it: the terms are shown to everyone. */
const PUBLIC_KEY = /^\s*-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----\s*$/;

/** The public key's PEM text as OpenSSL writes it, which is how nodes send it: lines of 64 characters, the last one ended too. */
const key = (value, at) => {
  must((pem) => typeof pem === "string" && pem.length <= 1024 && PUBLIC_KEY.test(pem), "a public key as PEM text")(value, at);
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
  clip: optional(orNull(above(0, 1e6)), null),
  noise: optional(oneOf("none", "local", "central"), "none"),
  noise_multiplier: optional(from(0, 1e6), 0),
  delta: optional(above(0, 0.5), 1e-5),
};

const LORA = {
  r: needed(whole(1, 512)),
  lora_alpha: needed(above(0, 1e6)),
  target_modules: needed(either("all-linear", list(text(120), 64))),
  freeze_a: optional(flag),
};

const TRAIN = {
  max_steps: optional(whole(1, 100_000)),
  num_train_epochs: optional(whole(1, 1000)),
  learning_rate: needed(above(0, 10)),
  per_device_train_batch_size: optional(whole(1, 4096), 8),
  max_length: optional(whole(1, 1 << 20), 1024),
};

const FIELDS = {
  version: needed(oneOf(1)),
  name: needed(text(80)),
  operator: needed(text(120)),
  purpose: optional(orNull(text(500)), null),
  base_model_name_or_path: needed(text(300)),
  lora: needed(record(LORA)),
  train: needed(record(TRAIN, scalar)),
  rounds: needed(whole(1, 100_000)),
  min_clients: optional(whole(1, 1000), 2),
  aggregation: optional(oneOf("fedavg", "fedadam", "flexlora"), "fedavg"),
  server_learning_rate: optional(above(0, 100)),
  delta_dtype: optional(oneOf("f32", "f16", "nf4"), "f32"),
  evaluate: optional(flag, true),
  privacy: optional(record(PRIVACY), record(PRIVACY)({}, "privacy")),
  round_seconds: optional(above(0, 604_800), 600),
  enrolled: optional(orNull(list(key, MOST_KEYS)), null),
};

/** What one field says of another, and how many options of `train` were given; sets the defaults that depend on others. */
function checkTogether(terms, options) {
  const { lora, privacy, aggregation, train, enrolled } = terms;
  const noised = privacy.noise !== "none";
  const flexible = aggregation === "flexlora";
  lora.freeze_a ??= noised;
  terms.server_learning_rate ??= aggregation === "fedadam" ? 0.01 : 1;
  const rules = [
    [options > MOST_OF_TRAIN, `train has more than ${MOST_OF_TRAIN} fields`],
    [!train.max_steps && !train.num_train_epochs, "train.max_steps or train.num_train_epochs is missing: how far a round goes"],
    [train.max_steps && train.num_train_epochs, "train.num_train_epochs says nothing beside train.max_steps, which are a round's"],
    [privacy.mask && !train.max_steps, "train.max_steps is missing: with privacy.mask it bounds what a value moves"],
    [noised && privacy.clip === null, "privacy.clip is missing: noise hides a client only where its delta is bounded"],
    [noised && privacy.noise_multiplier === 0, "privacy.noise_multiplier must be above 0 where there is noise"],
    [!noised && privacy.noise_multiplier > 0, 'privacy.noise_multiplier says nothing with privacy.noise "none"'],
    [privacy.mask && terms.delta_dtype !== "f32", 'delta_dtype must be "f32" with privacy.mask'],
    [privacy.mask && terms.min_clients < 2, "min_clients must be at least 2 with privacy.mask: the sum of one client is its delta"],
    [privacy.mask && terms.min_clients > MOST_MASKED, `min_clients must be at most ${MOST_MASKED} with privacy.mask: no more are summed in a round`],
    [flexible && lora.freeze_a, 'lora.freeze_a must be false with aggregation "flexlora", which takes A and B apart anew'],
    [flexible && privacy.mask, 'privacy.mask needs one sum, which aggregation "flexlora" has not'],
    [flexible && privacy.noise === "central", 'privacy.noise "central" needs one sum, which aggregation "flexlora" has not'],
    [flexible && terms.server_learning_rate !== 1, 'server_learning_rate must be 1 with aggregation "flexlora"'],
    [new Set(enrolled).size < (enrolled?.length ?? 0), "enrolled names a key twice"],
  ];
  const broken = rules.find(([is_broken]) => is_broken);
  if (broken) throw new Misfit(broken[1]);
}

/** A value as an error quotes it. */
function brief(value) {
  const written = JSON.stringify(value) ?? String(value);
  return written.length > 60 ? `${written.slice(0, 57)}…` : written;
}
