// The terms: what a federation.json may say, and that an error names the field that says something else.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkTerms, readTerms } from "../terms.mjs";
import { makeKey, TERMS } from "./support.mjs";

const WHOLE = {
  ...TERMS,
  purpose: "Recipes that nobody else has",
  lora: { ...TERMS.lora, freeze_a: true },
  train: { ...TERMS.train, per_device_train_batch_size: 2, max_length: 128, weight_decay: 0.01, seed: 7, optim: "adamw_torch", packing: false },
  min_clients: 3,
  aggregation: "fedadam",
  server_learning_rate: 0.1,
  delta_dtype: "f32",
  evaluate: false,
  privacy: { mask: true, clip: 1, noise: "central", noise_multiplier: 1.1, delta: 1e-6 },
  round_seconds: 60,
  enrolled: [makeKey().pem, makeKey().pem],
};

/** TERMS or WHOLE with the field at `path` set to `value`, or without it where that is undefined. */
function changed(terms, path, value) {
  const copy = structuredClone(terms);
  const names = path.split(".");
  const last = names.pop();
  const inner = names.reduce((at, name) => (at[name] ??= {}), copy);
  if (value === undefined) delete inner[last];
  else inner[last] = value;
  return copy;
}

function refused(terms, message) {
  assert.throws(() => checkTerms(terms), (error) => {
    assert.equal(error.code, "bad-terms", error.stack);
    assert.match(error.message, message);
    return true;
  });
}

test("terms that say all, and terms that say what they must", () => {
  assert.deepEqual(checkTerms(WHOLE), WHOLE);
  assert.deepEqual(checkTerms(TERMS), {
    ...TERMS,
    purpose: null,
    lora: { ...TERMS.lora, freeze_a: false },
    train: { ...TERMS.train, per_device_train_batch_size: 8, max_length: 1024 },
    min_clients: 2,
    aggregation: "fedavg",
    server_learning_rate: 1,
    delta_dtype: "f32",
    evaluate: true,
    privacy: { mask: false, clip: null, noise: "none", noise_multiplier: 0, delta: 1e-5 },
    round_seconds: 600,
    enrolled: null,
  });
  assert.equal(checkTerms({ ...TERMS, aggregation: "fedadam" }).server_learning_rate, 0.01);
  assert.equal(checkTerms({ ...TERMS, privacy: { noise: "local", clip: 1, noise_multiplier: 1 } }).lora.freeze_a, true);
  assert.equal(checkTerms({ ...TERMS, lora: { ...TERMS.lora, target_modules: "all-linear" } }).lora.target_modules, "all-linear");
});

test("every field that is needed is missed, and every one that is unknown is named", () => {
  for (const path of ["version", "name", "operator", "base_model_name_or_path", "lora", "train", "rounds", "lora.r", "lora.lora_alpha",
    "lora.target_modules", "train.learning_rate"]) {
    refused(changed(TERMS, path, undefined), new RegExp(`^federation.json: ${path} is missing$`));
  }
  refused(changed(TERMS, "train.max_steps", undefined), /^federation.json: train.max_steps or train.num_train_epochs is missing/);
  for (const path of ["min_client", "lora.rank", "lora.lora_dropout", "privacy.epsilon", "constructor", "lora.toString", "train.Max-Steps"]) {
    refused(changed(WHOLE, path, 1), new RegExp(`^federation.json: ${path} is no field of the terms`));
  }
  refused(JSON.parse('{"__proto__": {"version": 1}}'), /__proto__ is no field/);
});

test("every value of a wrong type or size is refused by its field's name", () => {
  const wrong = {
    version: [2, "1", null, true],
    name: ["", " ", "a".repeat(81), 1, null],
    operator: ["", "a".repeat(121)],
    purpose: ["", "a".repeat(501), 1],
    base_model_name_or_path: ["", "a".repeat(301), []],
    lora: [null, [], "8", 8],
    "lora.r": [0, 513, 1.5, "8"],
    "lora.lora_alpha": [0, -1, "16"],
    "lora.target_modules": ["q_proj", [], [1], [""], new Array(65).fill("q_proj")],
    "lora.freeze_a": ["true", 1, null],
    train: [null, []],
    "train.max_steps": [0, 1.5, 1e9],
    "train.learning_rate": [0, -1, 11, "1e-3"],
    "train.per_device_train_batch_size": [0],
    "train.max_length": [0],
    "train.seed": [null, [], {}, "a".repeat(121)],
    rounds: [0, 1.5, "3"],
    min_clients: [0, 1001],
    aggregation: ["mean", null, "FedAvg"],
    server_learning_rate: [0, -1, null],
    delta_dtype: ["f64", "float32"],
    evaluate: [1],
    privacy: [null, [], true],
    "privacy.mask": ["no"],
    "privacy.clip": [0, -1, "1"],
    "privacy.noise": ["gaussian", null],
    "privacy.noise_multiplier": [-1, null],
    "privacy.delta": [0, 1, -1],
    round_seconds: [0, 1e9, "600"],
    enrolled: [[], "all", [1], ["key"], {}],
  };
  for (const [path, values] of Object.entries(wrong)) {
    for (const value of values) refused(changed(WHOLE, path, value), new RegExp(`^federation.json: ${path}(\\[0\\])? (must be|is)`));
  }
  for (const value of [null, [], "terms", 1]) refused(value, /^federation.json: the whole must be an object/);
});

test("fields that contradict each other are refused", () => {
  const noise = { noise: "central", clip: 1, noise_multiplier: 1 };
  const flexlora = { ...TERMS, aggregation: "flexlora" };
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`x${index}`, 1]));
  for (const [terms, message] of [
    [{ ...TERMS, privacy: { ...noise, clip: null } }, /privacy.clip/],
    [{ ...TERMS, privacy: { ...noise, noise_multiplier: 0 } }, /privacy.noise_multiplier/],
    [{ ...TERMS, privacy: { noise_multiplier: 1 } }, /privacy.noise_multiplier says nothing/],
    [{ ...TERMS, privacy: { mask: true }, delta_dtype: "f16" }, /delta_dtype must be "f32"/],
    [{ ...TERMS, privacy: { mask: true }, min_clients: 1 }, /min_clients/],
    [changed(flexlora, "lora.freeze_a", true), /lora.freeze_a/],
    [{ ...flexlora, privacy: { ...noise, noise: "local" } }, /lora.freeze_a/],
    [{ ...flexlora, privacy: { mask: true } }, /privacy.mask/],
    [changed({ ...flexlora, privacy: noise }, "lora.freeze_a", false), /privacy.noise "central"/],
    [{ ...flexlora, server_learning_rate: 0.5 }, /server_learning_rate/],
    [{ ...TERMS, train: { ...TERMS.train, ...many } }, /more than 40/],
  ]) {
    refused(terms, message);
  }
});

test("enrolled keys are public keys on P-384, each once, in the spelling that nodes send", () => {
  const { pem } = makeKey();
  for (const spelt of [pem, pem.trim(), pem.replaceAll("\n", "\r\n"), `\n${pem}\n`]) {
    assert.deepEqual(checkTerms({ ...TERMS, enrolled: [spelt] }).enrolled, [pem]);
  }
  refused({ ...TERMS, enrolled: [pem, makeKey().pem, pem.trim()] }, /enrolled names a key twice/);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const other = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" });
  const edwards = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" });
  // A private key would be published with the terms.
  const secret = privateKey.export({ type: "pkcs8", format: "pem" });
  for (const text of [secret, secret + pem, pem + secret, pem + pem]) {
    refused({ ...TERMS, enrolled: [makeKey().pem, text] }, /enrolled\[1\] must be a public key/);
  }
  for (const wrong of [other, edwards]) refused({ ...TERMS, enrolled: [wrong] }, /enrolled\[0\] must be a key on the curve P-384/);
  refused({ ...TERMS, enrolled: [pem.replace(/[A-Za-z0-9]{8}\n/, "\n")] }, /enrolled\[0\] is not a public key/);
});

test("a file that is none is told by its name", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "tabtune-terms-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const at = join(folder, "terms.json");
  await assert.rejects(readTerms(at), { code: "io", message: /terms.json/ });
  for (const [bytes, message] of [
    ["{", /terms.json: /], ["\ufeff{}", /terms.json: /], [Buffer.from([0x7b, 0xff, 0x7d]), /terms.json: /],
    ["{}", /terms.json: version is missing/],
    [Buffer.alloc((1 << 20) + 1, 32), /1048577 bytes/], [`{"version":${"[".repeat(500_000)}`, /terms.json: /],
  ]) {
    await writeFile(at, bytes);
    await assert.rejects(readTerms(at), (error) => error.code === "bad-terms" && message.test(error.message));
  }
  const text = JSON.stringify(WHOLE, null, 2);
  await writeFile(at, text);
  const { bytes, terms, enrolled } = await readTerms(at);
  assert.deepEqual([bytes.toString(), terms, enrolled], [text, WHOLE, WHOLE.enrolled]);
});
