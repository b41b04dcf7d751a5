// The terms of a federation are one file that three read: the server's app, its proxy and the client. What one of them takes the
// others take, with the same defaults, and what one refuses the others refuse for the same field.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkTerms } from "../../federated/proxy/terms.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { termsOf } from "../../www/package/build/federated/terms.js";

const PLAIN = {
  version: 1,
  name: "A test",
  operator: "this machine",
  base_model_name_or_path: "bundled",
  lora: { r: 4, lora_alpha: 8, target_modules: ["q_proj", "v_proj"] },
  train: { max_steps: 2, learning_rate: 0.01 },
  rounds: 3,
};
const LOCAL = { clip: 0.5, noise: "local", noise_multiplier: 1.5 };
const CENTRAL = { ...LOCAL, noise: "central", delta: 1e-6 };
const FLEXLORA = { aggregation: "flexlora" };

/** PLAIN with other values at paths, and without the fields whose value is undefined; as the text of a file. */
function written(changes) {
  const copy = structuredClone(PLAIN);
  for (const [path, value] of Object.entries(changes)) {
    const names = path.split(".");
    const last = names.pop();
    const inner = names.reduce((at, name) => at[name], copy);
    if (value === undefined) delete inner[last];
    else inner[last] = value;
  }
  return JSON.stringify(copy);
}

const keyOf = (type, options) => generateKeyPairSync(type, options);
const pemOf = ({ publicKey }) => publicKey.export({ type: "spki", format: "pem" });
const pair = keyOf("ec", { namedCurve: "P-384" });
const [pem, other] = [pemOf(pair), pemOf(keyOf("ec", { namedCurve: "P-384" }))];
const secret = pair.privateKey.export({ type: "pkcs8", format: "pem" });
const options = (count) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`option_${index}`, index]));

const TAKEN = {
  "the least": written({}),
  "the example": readFileSync(join(paths.root, "federated/example/federation.json"), "utf8"),
  "all of it": written({
    purpose: "Try it", "lora.freeze_a": true, "lora.target_modules": "all-linear", "train.per_device_train_batch_size": 2,
    "train.max_length": 128, "train.weight_decay": 0.1, "train.optim": "sgd", "train.packing": false, min_clients: 3,
    aggregation: "fedadam", server_learning_rate: 0.1, delta_dtype: "f32", evaluate: false,
    privacy: { ...CENTRAL, mask: true }, round_seconds: 0.5, enrolled: [pem, other],
  }),
  "nulls where nothing is said": written({ purpose: null, enrolled: null, privacy: { clip: null } }),
  "whole numbers as 3.0": written({}).replace('"rounds":3', '"rounds":3.0').replace('"version":1', '"version":1.0'),
  "the rate of FedAdam": written({ aggregation: "fedadam" }),
  "noise, which freezes A": written({ privacy: LOCAL }),
  "noise with A told to learn": written({ privacy: LOCAL, "lora.freeze_a": false }),
  "FlexLoRA with noise of each": written({ ...FLEXLORA, privacy: LOCAL, "lora.freeze_a": false }),
  "the bounds": written({
    name: "ü".repeat(80), operator: "𝄞".repeat(120), "lora.r": 512, "lora.lora_alpha": 1e6, "train.max_steps": 100_000,
    "train.learning_rate": 10, rounds: 100_000, min_clients: 1000, server_learning_rate: 100, round_seconds: 604_800,
    "privacy": { delta: 0.5, clip: 1e6 }, delta_dtype: "nf4", "train.note": "𝄞".repeat(120),
  }),
  "masks of as many as there can be": written({ privacy: { mask: true }, min_clients: 255 }),
  "epochs in place of steps": written({ "train.max_steps": undefined, "train.num_train_epochs": 2 }),
  "forty options": written({ train: { ...PLAIN.train, ...options(38) } }),
  "keys with other ends of lines": written({ enrolled: [`\n${pem.trim().replaceAll("\n", "\r\n")}  `] }),
};

/** The field that each document is refused for. */
const REFUSED = [
  ["version", { version: 2 }],
  ["version", { version: true }],
  ["name", { name: "a".repeat(81) }],
  ["name", { name: " " }],
  ["operator", { operator: undefined }],
  ["purpose", { purpose: 1 }],
  ["base_model_name_or_path", { base_model_name_or_path: "a".repeat(301) }],
  ["cake", { cake: 1 }],
  ["lora", { lora: [] }],
  ["lora.rank", { "lora.rank": 4 }],
  ["lora.r", { "lora.r": 513 }],
  ["lora.r", { "lora.r": true }],
  ["lora.lora_alpha", { "lora.lora_alpha": 0 }],
  ["lora.target_modules", { "lora.target_modules": "q_proj" }],
  ["lora.target_modules", { "lora.target_modules": ["q_proj", ""] }],
  ["lora.freeze_a", { "lora.freeze_a": null }],
  ["train.max_steps", { "train.max_steps": undefined }],
  ["train.max_steps", { "train.max_steps": 1.5 }],
  ["train.num_train_epochs", { "train.num_train_epochs": 1 }],
  ["train.num_train_epochs", { "train.max_steps": undefined, "train.num_train_epochs": 1.5 }],
  ["train.max_steps", { "train.max_steps": undefined, "train.num_train_epochs": 1, privacy: { mask: true } }],
  ["train.learning_rate", { "train.learning_rate": "1e-3" }],
  ["train.betas", { "train.betas": [0.9, 0.99] }],
  ["train.Max-Steps", { "train.Max-Steps": 1 }],
  ["train", { train: { ...PLAIN.train, ...options(39) } }],
  ["rounds", { rounds: 0 }],
  ["min_clients", { min_clients: 1001 }],
  ["min_clients", { min_clients: null }],
  ["aggregation", { aggregation: "FedAvg" }],
  ["aggregation", { aggregation: null }],
  ["server_learning_rate", { server_learning_rate: 0 }],
  ["delta_dtype", { delta_dtype: "f64" }],
  ["evaluate", { evaluate: 1 }],
  ["round_seconds", { round_seconds: 604_801 }],
  ["privacy", { privacy: null }],
  ["privacy.masks", { privacy: { masks: true } }],
  ["privacy.mask", { privacy: { mask: "no" } }],
  ["privacy.clip", { privacy: { clip: 0 } }],
  ["privacy.delta", { privacy: { delta: 1 } }],
  ["privacy.clip", { privacy: { ...LOCAL, clip: null } }],
  ["privacy.noise_multiplier", { privacy: { ...LOCAL, noise_multiplier: 0 } }],
  ["privacy.noise_multiplier", { privacy: { noise_multiplier: 1 } }],
  ["delta_dtype", { privacy: { mask: true }, delta_dtype: "f16" }],
  ["min_clients", { privacy: { mask: true }, min_clients: 1 }],
  ["min_clients", { privacy: { mask: true }, min_clients: 256 }],
  ["lora.freeze_a", { ...FLEXLORA, "lora.freeze_a": true }],
  ["lora.freeze_a", { ...FLEXLORA, privacy: LOCAL }],
  ["privacy.mask", { ...FLEXLORA, privacy: { mask: true } }],
  ["noise", { ...FLEXLORA, privacy: CENTRAL, "lora.freeze_a": false }],
  ["server_learning_rate", { ...FLEXLORA, server_learning_rate: 0.5 }],
  ["enrolled", { enrolled: [] }],
  ["enrolled", { enrolled: "all" }],
  ["enrolled", { enrolled: [pem, pem.trim()] }],
  ["enrolled", { enrolled: [pem + secret] }],
  ["enrolled", { enrolled: [secret] }],
  ["enrolled", { enrolled: [pemOf(keyOf("ec", { namedCurve: "P-256" }))] }],
  ["enrolled", { enrolled: [pemOf(keyOf("ed25519"))] }],
  ["enrolled", { enrolled: [pem.replace(/[A-Za-z0-9]{8}\n/, "\n")] }],
].map(([field, changes]) => [field, written(changes)]);

/** What can only be written by hand: numbers that are none here, and a field that objects have anyway. */
const ODD = [
  ["round_seconds", written({}).replace("{", `{"round_seconds":1${"0".repeat(400)},`)],
  ["train.seed", written({ "train.seed": 0 }).replace('"seed":0', '"seed":1e999')],
  ["train.seed", written({ "train.seed": 0 }).replace('"seed":0', `"seed":1${"0".repeat(400)}`)],
  ["__proto__", written({}).replace("{", '{"__proto__":{"version":1},')],
  ["", "[]"],
  ["", "null"],
];

/** What the server's app makes of texts: { terms } or { refused } of each. */
function byServer(texts) {
  const program = `
import dataclasses, json, sys
from tabtune_federated.terms import TermsError, check_terms
def read(text):
    try:
        terms = dataclasses.asdict(check_terms(json.loads(text)))
    except TermsError as error:
        return {"refused": str(error)}
    del terms["digest"]
    return {"terms": {"version": 1, **terms}}
print(json.dumps([read(text) for text in json.load(sys.stdin)]))
`;
  const options = { cwd: join(paths.root, "federated/server"), input: JSON.stringify(texts), encoding: "utf8" };
  return JSON.parse(execFileSync(join(paths.flower, "bin/python"), ["-c", program], options));
}

/** What a reader of parsed terms makes of texts. */
const by = (read) => (texts) =>
  texts.map((text) => {
    try {
      return { terms: JSON.parse(JSON.stringify(read(JSON.parse(text)))) };
    } catch ({ message, code }) {
      assert.ok(["bad-terms", "bad-option"].includes(code), `${code}: ${message}`);
      return { refused: message };
    }
  });

const READERS = { "the app": byServer, "the proxy": by(checkTerms), "the client": by(termsOf) };

test("the app, the proxy and the client read the same of the same terms", () => {
  const texts = Object.values(TAKEN);
  const [app, proxy, client] = Object.values(READERS).map((read) => read(texts));
  for (const [index, what] of Object.keys(TAKEN).entries()) {
    assert.ok(app[index].terms, `${what}: ${app[index].refused}`);
    assert.deepEqual(proxy[index], app[index], what);
    // A purpose that is not told is left out there.
    const { terms } = client[index];
    assert.deepEqual({ terms: terms && { purpose: null, ...terms } }, app[index], `${what}: ${client[index].refused}`);
  }
});

test("what one of them refuses the others refuse, and name the field", () => {
  const all = [...REFUSED, ...ODD];
  for (const [who, read] of Object.entries(READERS)) {
    const told = read(all.map(([, text]) => text));
    for (const [index, [field, text]] of all.entries()) {
      assert.ok(told[index].refused, `${who} took ${text.slice(0, 300)}`);
      assert.ok(told[index].refused.includes(field), `${who} does not name ${field}: ${told[index].refused}`);
    }
  }
});
