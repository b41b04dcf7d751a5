// What the page's shelf says of adapters, and what it makes of those that come with a card.
import assert from "node:assert/strict";
import { test } from "node:test";
import { zipSync } from "fflate";
import { cardFor, withCard } from "../../www/package/build/exchange/index.js";
import { studio } from "./page-modules.mjs";

const FINGERPRINT = "ab".repeat(16);
const inspection = {
  bytes: 65_000,
  parameters: 15_360,
  ranks: [4],
  modules: ["q_proj", "v_proj"],
  layers: [0, 1, 2],
  whole: [],
  biases: 0,
  embeddings: false,
  base_model_name_or_path: "somebody/small",
};
const told = (card, more = {}) => ({ inspection: { ...inspection, ...more }, card, signed_by: null });
const hub = (name) => ({ name: { kind: "hub", name }, fingerprint: FINGERPRINT });

test("a fingerprint tells whether an adapter fits, and else the name that a person knows", async () => {
  const { fits } = await studio("library/shelf-words.ts");
  assert.equal(fits(told(null), hub("somebody/small")), "yes");
  assert.equal(fits(told(null), hub("https://huggingface.co/somebody/small")), "yes");
  assert.equal(fits(told(null), hub("somebody/large")), "no");
  assert.equal(fits(told(null), { name: { kind: "folder", name: "small" }, fingerprint: FINGERPRINT }), "no");
  assert.equal(fits(told({ base_model: { fingerprint: FINGERPRINT } }), hub("somebody/large")), "yes");
  assert.equal(fits(told({ base_model: { fingerprint: "cd".repeat(16) } }), hub("somebody/small")), "no");
  for (const name of [null, "/models/small", ""]) {
    assert.equal(fits(told(null, { base_model_name_or_path: name }), hub("somebody/small")), "unknown");
  }
  const bundled = { name: { kind: "bundled", name: "" }, fingerprint: FINGERPRINT };
  assert.equal(fits(told(null, { base_model_name_or_path: "https://example.org/models/tiny/" }), bundled), "yes");
});

test("a card says what an adapter touches, who signed it, and what nobody told", async () => {
  const { linesOf, galleryLines } = await studio("library/shelf-words.ts");
  const lines = (...given) => Object.fromEntries(linesOf(...given));
  const bare = lines(told(null), undefined);
  assert.deepEqual(bare, {
    "Made for": "somebody/small",
    Signed: "by nobody, and there is no card",
    Touches: "q_proj, v_proj in 3 layers",
    Size: "65 kB, 15,360 values of rank 4",
    Licence: "none is told: ask before you pass it on",
  });
  const more = told({ method: "sft", rows: 1, steps: 2, loss_before: 2, words: "<b>" }, { whole: ["model.norm"], biases: 1, embeddings: true });
  const full = lines({ ...more, signed_by: { name: "", fingerprint: "1234 5678" } }, hub("somebody/large"));
  assert.equal(full.Fits, "Not the model that is loaded.");
  assert.equal(full.Signed, "by “somebody without a name”, with the key 1234 5678");
  assert.equal(full.Touches, "q_proj, v_proj in 3 layers; 1 bias; all of model.norm; the vocabulary");
  assert.equal(full.Learnt, "from examples, 1 row, 2 steps");
  assert.equal(full["Held-out loss"], "2.000");
  assert.equal(full["In the author's words"], "<b>");
  const shown = Object.fromEntries(galleryLines({ base_model: "somebody/small", signer: "Lena", fingerprint: "1234" }));
  assert.equal(shown.Signed, "by “Lena”, with the key 1234, as the gallery says");
});

test("a recipe reads as a sum", async () => {
  const { recipeOf } = await studio("library/mixing.ts");
  assert.equal(recipeOf([["a", 0.5], ["b", -1], ["c", 2]]), "0.50 × a − 1.00 × b + 2.00 × c");
  assert.equal(recipeOf([["a", -0.05]]), "−0.05 × a");
});

test("an adapter that is opened with a card must be what the card was written for", async () => {
  const { broughtAdapter } = await studio("library/adapter-files.ts");
  const text = (value) => new TextEncoder().encode(JSON.stringify(value));
  const config = { peft_type: "LORA", r: 4, lora_alpha: 4, target_modules: ["q_proj"], base_model_name_or_path: "somebody/small" };
  const plain = { "adapter_config.json": text(config), "adapter_model.safetensors": new Uint8Array(16) };
  const files = withCard(plain, await cardFor(plain, { title: "Mine" }));
  const opened = await broughtAdapter([new File([zipSync(files)], "a.zip")]);
  assert.deepEqual([opened.files, opened.signed_by], [plain, undefined], "the engine gets PEFT's two files");
  files["adapter_model.safetensors"] = new Uint8Array(16).fill(1);
  const changed = broughtAdapter([new File([zipSync(files)], "a.zip")]);
  await assert.rejects(changed, { code: "bad-adapter", message: /adapter_model\.safetensors was changed/ });
});
